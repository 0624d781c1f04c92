"""The end of a run: what its table compares, and a disk that refuses its report."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlinf.config.load import load
from rlinf.errors import UserError
from rlinf.metrics.outcome import Outcome
from rlinf.runners import checkpoint
from rlinf.runners.closing import close_run
from tests.full_disk import largest_file


def test_a_report_that_does_not_fit_is_reported_with_how_to_write_it(tmp_path: Path) -> None:
    config = load("toy_ppo_mlp", [f"runner.logger.log_path={tmp_path}"]).config
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "env/success_once": 0.5}\n')
    run: Any = SimpleNamespace(folder=tmp_path, checkpoints=tmp_path / "checkpoints")
    workers: Any = SimpleNamespace(export=lambda *_: None)
    newest_is(tmp_path / "checkpoints", step=1)
    with largest_file(1000), pytest.raises(UserError) as caught:
        close_run(config, run, workers)
    assert f"report cannot be written to {tmp_path}/report.html: File too large" in str(
        caught.value
    )
    assert "runner.resume_dir=auto writes its report" in caught.value.fix
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.jsonl", "checkpoints"}


@pytest.mark.parametrize(
    ("evaluated", "labels"),
    [
        ([0, 2, 4], ["before", "after"]),
        ([0, 2], ["before", "after step 2"]),  # the iterations since then were not evaluated
        ([2, 4], ["after step 2", "after"]),
        ([4], []),
    ],
)
def test_the_table_names_the_steps_that_were_evaluated(
    evaluated: list[int], labels: list[str], tmp_path: Path
) -> None:
    config = load("toy_ppo_mlp", [f"runner.logger.log_path={tmp_path}"]).config
    newest_is(tmp_path / "checkpoints", step=4)
    (tmp_path / "metrics.jsonl").write_text('{"step": 4, "env/success_once": 0.5}\n')
    (tmp_path / "eval").mkdir()
    for step in evaluated:
        overall = {"label": "", "success": 0.5, "low": 0.1, "high": 0.9, "episodes": 8}
        (tmp_path / "eval" / f"step_{step}.json").write_text(
            json.dumps({"step": step, "overall": overall})
        )
    shown: list[Outcome] = []
    console = SimpleNamespace(table=lambda *both: shown.extend(both), paths=lambda *_: None)
    run: Any = SimpleNamespace(
        folder=tmp_path, checkpoints=tmp_path / "checkpoints", console=console
    )
    workers: Any = SimpleNamespace(export=lambda *_: None)
    close_run(config, run, workers)
    assert [outcome.label for outcome in shown] == labels


def newest_is(root: Path, step: int) -> None:
    (root / f"global_step_{step}").mkdir(parents=True)
    (root / checkpoint.LATEST).write_text(f"global_step_{step}")
