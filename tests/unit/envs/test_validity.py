"""What a simulator hands over is refused at the boundary, with the part and its value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rlinf.data.types import Observation
from rlinf.envs.base import StepResult
from rlinf.envs.failures import RowFailed
from rlinf.envs.validity import ObservationCheck, check_step, check_tasks
from rlinf.errors import UserError

GOOD = Observation(np.zeros((2, 1, 4, 4, 3), np.uint8), np.zeros((2, 3), np.float32), ("a", "b"))
STEP = StepResult(np.zeros(2, np.float32), np.zeros(2, bool), np.zeros(2, bool))
IDS = np.array([5, 7])


def refusal(call: Callable[[], None]) -> tuple[int, str]:
    """The env that is blamed, and why."""
    with pytest.raises(RowFailed) as caught:
        call()
    return caught.value.row, str(caught.value.__cause__)


def poisoned(value: float) -> np.ndarray:
    state = np.zeros((2, 3), np.float32)
    state[1, 2] = value
    return state


@pytest.mark.parametrize(
    ("changes", "row", "words"),
    [
        ({"state": poisoned(np.nan)}, 7, "observation.state[2] is nan, not a finite number"),
        ({"state": poisoned(-np.inf)}, 7, "observation.state[2] is -inf"),
        ({"state": np.zeros((2, 3))}, 5, "observation.state is float64, not float32"),
        ({"state": np.zeros((3, 3), np.float32)}, 5, "is (3, 3), not [2, S]"),
        ({"images": np.zeros((2, 1, 4, 4, 3), np.float32)}, 5, "images is float32, not uint8"),
        ({"images": np.zeros((2, 4, 4, 3), np.uint8)}, 5, "not [2, V, H, W, 3]"),
        ({"images": np.zeros((2, 1, 4, 4, 4), np.uint8)}, 5, "not [2, V, H, W, 3]"),
        ({"instructions": ("a",)}, 5, "instructions is 1 rows, not 2 rows"),
        ({"instructions": ("放", "b\udc80")}, 7, r"instructions[1] is 'b\udc80', not text"),
    ],
)
def test_a_broken_part_is_named_with_its_value(changes, row, words):
    blamed, message = refusal(lambda: ObservationCheck()(replace(GOOD, **changes), IDS))
    assert blamed == row
    assert words in message


def test_shapes_never_change():
    check = ObservationCheck()
    check(GOOD, IDS)
    other = replace(GOOD, images=np.zeros((2, 1, 8, 8, 3), np.uint8))
    assert "not ((1, 4, 4, 3), (3,)) as before" in refusal(lambda: check(other, IDS))[1]


def test_no_row_has_no_shape():
    check = ObservationCheck()
    check(
        Observation(np.zeros((0, 0, 0, 0, 3), np.uint8), np.zeros((0, 0), np.float32), ()), IDS[:0]
    )
    check(GOOD, IDS)
    other = replace(GOOD, images=np.zeros((2, 1, 8, 8, 3), np.uint8))
    assert "not ((1, 4, 4, 3), (3,)) as before" in refusal(lambda: check(other, IDS))[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rewards": np.zeros(2, int)}, "rewards is [2] int64, not [2] float"),
        ({"rewards": np.zeros((2, 1), np.float32)}, "rewards is [2, 1] float32"),
        ({"terminated": np.zeros(2)}, "terminated is [2] float64, not [2] bool"),
        ({"success": np.zeros(3, bool)}, "success is [3] bool, not [2] bool"),
    ],
)
def test_a_step_has_the_types_of_the_contract(changes, words):
    check_step(STEP, 2)
    assert words in refusal(lambda: check_step(replace(STEP, **changes), 2))[1]


@pytest.mark.parametrize(
    ("tasks", "words"),
    [((), "has no task"), (("push", "pull\udcff"), "name of task 1, 'pull.udcff', is not valid")],
)
def test_a_simulator_without_tasks_or_with_names_that_are_no_text_is_refused(tasks, words):
    with pytest.raises(UserError, match=words):
        check_tasks(tasks)
