"""Every row of the table of results is valid, says where it is from, and agrees with its source."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from rlinf.config.compose import CONFIG_DIR
from rlinf.config.load import load
from rlinf.config.machine import Machine
from rlinf.config.placement import Node
from rlinf.errors import UserError
from rlinf.metrics.results import wilson
from rlinf.registry import benchmarks
from rlinf.results.registry import ResultRow, row_of, rows

ROOT = Path(__file__).parents[3]
ROWS = list(rows().values())
GPUS = Machine(Node(accelerators=8, cpu_slots=64), 512_000_000_000, None, 80_000_000_000)
each = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


@each
def test_a_row_runs_a_configuration_that_is_valid(row: ResultRow, tmp_path: Path):
    assert (CONFIG_DIR / f"{row.config}.yaml").is_file()
    only = ["runner.only_eval=true"] if row.run == "evaluate" else []
    weights = [f"{one.key}=/models/{one.folder}" for one in row.weights]
    log_path = f"runner.logger.log_path={tmp_path}"
    loaded = load(row.config, [log_path, *only, *row.overrides, *weights], GPUS)
    if row.benchmark is not None:
        assert row.benchmark in benchmarks()
    groups = {"all", *loaded.config.env.eval.init_params.task_groups()}
    if row.benchmark is None:
        assert {one.of for one in row.expected} <= groups


@each
def test_a_number_of_ours_is_that_of_its_result_file(row: ResultRow):
    if row.file is None:
        assert row.source.by == "others" or row.note or not row.expected
        return
    numbers = json.loads((ROOT / row.file).read_text())["numbers"]
    ends = [(run, run["evaluations"][-1]) for run in numbers["runs"]]
    (one,) = row.expected
    assert one.success in [end["success"] for run, end in ends if run["seed"] == row.seed]
    assert one.episodes == ends[0][1]["episodes"]
    assert one.interval is not None
    if "about" in numbers:  # several settings of one seed, one of which the row is
        ends = [(run, end) for run, end in ends if end["success"] == one.success]
    assert one.interval[0] == min(end["low"] for _, end in ends)
    assert one.interval[1] == max(end["high"] for _, end in ends)


@each
def test_an_interval_without_a_file_is_wilsons(row: ResultRow):
    for one in row.expected:
        if row.file is None and one.interval is not None:
            assert one.episodes is not None
            low, high = wilson(round(one.success * one.episodes), one.episodes)
            assert one.interval == (round(low, 3), round(high, 3))


def test_every_number_of_the_published_tables_is_in_a_row():
    """The pages of the documentation repeat the tables; the rows have the same numbers."""
    told: set[str] = set()
    for page in ("maniskill", "libero"):
        text = (ROOT / "docs/source-en/benchmarks" / f"{page}.md").read_text()
        text = text.partition("### Published by others")[2].partition("### Run by us")[0]
        table = [line for line in text.splitlines() if line.startswith("|")]
        told |= set(re.findall(r"\d+\.\d\d(?= %)", "\n".join(table)))
    known = {f"{100 * one.success:.2f}" for row in ROWS for one in row.expected}
    assert told - known == set() and len(told) > 40


def test_an_unknown_row_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="write quickstart"):
        row_of("quickstrt")


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"name": "No Name"},
        {"run": "guess"},
        {"expected": [{"of": "all", "success": 1.5}]},
        {"expected": [{"of": "all", "success": 0.5, "interval": [0.6, 0.7]}]},
        {"weights": [{"key": "a", "repository": "nameless"}]},
    ],
)
def test_a_row_that_makes_no_sense_is_refused(change: dict[str, object]):
    plain = row_of("quickstart").model_dump(mode="json")
    ResultRow.model_validate(plain)
    with pytest.raises(ValidationError):
        ResultRow.model_validate({**plain, **change})
