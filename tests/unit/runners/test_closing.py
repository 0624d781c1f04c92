"""The end of a run on a disk that refuses its report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlinf.config.load import load
from rlinf.errors import UserError
from rlinf.runners.closing import close_run
from tests.full_disk import largest_file


def test_a_report_that_does_not_fit_is_told_with_how_to_write_it(tmp_path: Path) -> None:
    config = load("toy_ppo_mlp", [f"runner.logger.log_path={tmp_path}"]).config
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "env/success_once": 0.5}\n')
    run: Any = SimpleNamespace(folder=tmp_path, checkpoints=tmp_path / "checkpoints")
    workers: Any = SimpleNamespace(export=lambda *_: None)
    with largest_file(1000), pytest.raises(UserError) as caught:
        close_run(config, run, workers)
    assert f"report cannot be written to {tmp_path}/report.html: File too large" in str(
        caught.value
    )
    assert "runner.resume_dir=auto writes its report" in caught.value.fix
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
