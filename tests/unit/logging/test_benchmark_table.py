"""The table of a benchmark, with numbers worked out by hand."""

from __future__ import annotations

import pytest

from rlinf.logging.benchmark_table import SetOutcome, markdown, table
from rlinf.metrics.outcome import Outcome

GROUPS = ["Training setting", "Vision", "Semantic"]


def outcome(successes: int, count: int = 100) -> Outcome:
    return Outcome("", successes / count, 0.0, 1.0, count)


def part(name: str, group: str, once: int, at_end: int = 0) -> SetOutcome:
    return SetOutcome(name, group, outcome(once), outcome(at_end))


SETS = [
    part("train", "Training setting", 90, 80),
    part("image", "Vision", 50),
    part("texture", "Vision", 70),
    part("objects", "Semantic", 20),
]


def test_groups_and_both_averages() -> None:
    """Vision (50 + 70) / 2 = 60; groups (60 + 20) / 2 = 40; sets (50 + 70 + 20) / 3 = 46.67."""
    row = table(SETS, GROUPS, "Training setting")["success_once"]
    assert row["Training setting"]["success"] == 0.9
    assert row["Vision"]["success"] == pytest.approx(0.60)
    assert row["Vision"]["episodes"] == 200
    assert row["Average of groups"]["success"] == pytest.approx(0.40)
    assert row["Average of groups"]["episodes"] == 300
    assert row["Average of sets"]["success"] == pytest.approx(140 / 300)


def test_the_interval_is_that_of_all_episodes_of_the_group() -> None:
    """Wilson for 120 of 200: (0.6 + 1.9208/200 -+ 1.96 sqrt(.24/200 + .9604/200^2)) / 1.0192."""
    vision = table(SETS, GROUPS, "Training setting")["success_once"]["Vision"]
    assert vision["low"] == pytest.approx(0.5308, abs=2e-4)
    assert vision["high"] == pytest.approx(0.6654, abs=2e-4)


def test_where_episodes_weigh_alike_sets_of_unequal_size_are_pooled() -> None:
    """30 of 100 and 10 of 300 are 40 of 400, not the mean of both rates; with c 60 of 500."""
    sets = [
        SetOutcome("a", "Vision", outcome(30), outcome(0)),
        SetOutcome("b", "Vision", outcome(10, 300), outcome(0, 300)),
        part("c", "Semantic", 20),
    ]
    row = table(sets, ["Vision", "Semantic", "Noise"], "", pooled=True)["success_once"]
    assert row["Vision"]["success"] == 0.1 and row["Vision"]["episodes"] == 400
    # Wilson for 40 of 400: (0.1 + 1.9207/400 -+ 1.96 sqrt(.09/400 + .9604/400^2)) / 1.0096.
    assert row["Vision"]["low"] == pytest.approx(0.0744, abs=2e-4)
    assert row["Vision"]["high"] == pytest.approx(0.1333, abs=2e-4)
    assert row["Total"]["success"] == 60 / 500 and row["Noise"] is None
    assert list(row) == ["Vision", "Semantic", "Noise", "Total"]
    rows = {"success_once": row, "success_at_end": row}
    assert "| Vision | Semantic | Noise | Total |" in markdown("t", "p", sets, rows, [])


def test_a_group_that_was_not_run_has_no_number_and_there_is_no_average_of_groups() -> None:
    row = table(SETS[:3], GROUPS, "Training setting")["success_once"]
    assert row["Semantic"] is None
    assert row["Average of groups"] is None
    page = markdown("t", "p", SETS[:3], {"success_once": row, "success_at_end": row}, [])
    assert "not run" in page


def test_the_page_has_a_column_per_group_and_a_row_per_set() -> None:
    rows = table(SETS, GROUPS, "Training setting")
    lines = markdown("Title", "logs/run", SETS, rows, ["a remark"]).splitlines()
    assert lines[0] == "# Title"
    head = "|  | Training setting | Vision | Semantic | Average of groups | Average of sets |"
    assert head in lines
    assert sum("60.00% (53.1% to 66.5%, n 200)" in line for line in lines) == 1
    assert [line.split(" | ")[0] for line in lines if line.startswith("| objects")] == ["| objects"]
    assert lines[-1] == "- a remark"
