"""Two policies on equal starts, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from rlinf.errors import UserError
from rlinf.metrics.comparison import compared
from tests.unit.metrics.evaluations import SETTINGS, file_of, outcomes

FIRST = file_of([*outcomes(0, "xx......"), *outcomes(1, "xxxx")], ["easy", "hard"])
SECOND = file_of([*outcomes(0, ".xxxxx.."), *outcomes(1, "xxxx")], ["easy", "hard"])


def test_each_task_each_category_and_all_starts_are_compared():
    rows = {row.label: row for row in compared(FIRST, SECOND)}
    assert list(rows) == ["open the drawer", "close the drawer", "easy", "hard", "all starts"]
    one = rows["open the drawer"]
    assert (one.starts, one.first, one.second) == (8, 2 / 8, 5 / 8)
    assert (one.first_better, one.second_better) == (1, 4)
    assert one.p_value == pytest.approx(2 * (1 + 5) / 2**5)  # at most one of five
    assert one.low < one.change == 3 / 8 < one.high
    same = rows["close the drawer"]
    assert (same.change, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    every = rows["all starts"]
    assert (every.starts, every.change, every.p_value) == (12, 3 / 12, one.p_value)
    # The other task adds starts without a difference, drawn among themselves.
    assert (every.low, every.high) == pytest.approx((one.low * 8 / 12, one.high * 8 / 12), abs=0.01)


def test_a_start_with_several_episodes_counts_once():
    ours = file_of([*outcomes(0, "xx."), *outcomes(0, "x..", repeat=1)])
    theirs = file_of([*outcomes(0, "x.."), *outcomes(0, "xx.", repeat=1)])
    (one, _) = compared(ours, theirs)
    assert (one.starts, one.first, one.second) == (3, 0.5, 0.5)
    assert (one.first_better, one.second_better) == (0, 0)  # the second start: one of two each


def test_unequal_starts_are_refused_with_the_reason():
    fewer = file_of([*outcomes(0, "xx......"), *outcomes(1, "xxx")], ["easy", "hard"])
    with pytest.raises(UserError, match="1 trials are in A alone and 0 in B alone, such as task 1"):
        compared(FIRST, fewer)
    longer = {**SETTINGS, "env": {**SETTINGS["env"], "init_params": {"id": 2}}}
    with pytest.raises(UserError, match=r"env.eval.init_params.id = 1 and 2"):
        compared(FIRST, SECOND.model_copy(update={"settings": longer}))
    renamed = [task.model_copy(update={"instruction": "pull"}) for task in SECOND.tasks]
    with pytest.raises(UserError, match="task 0 is 'open the drawer' and 'pull'"):
        compared(FIRST, SECOND.model_copy(update={"tasks": renamed}))
    sampled = {**SETTINGS, "sampling": {"do_sample": True}}
    compared(FIRST, SECOND.model_copy(update={"settings": sampled}))  # that is the policy's own
