"""`rlinf eval` says what is kept when it ends early."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlinf.config.load import load
from rlinf.data.types import EpisodeResult, Start
from rlinf.errors import WorkerFailed
from rlinf.metrics.journal import Journal
from rlinf.runners import evaluate

EPISODE = EpisodeResult(0, Start(0, 1, 7), 4, 1.0, True, True, True)


def test_an_evaluation_whose_workers_or_ray_end_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load("toy_ppo_mlp", [f"runner.logger.log_path={tmp_path}", "runner.only_eval=true"])

    def fail(*_: object) -> None:
        Journal(tmp_path / evaluate.JOURNAL / "env0-0.jsonl").append([EPISODE])
        raise WorkerFailed("a worker ended")

    monkeypatch.setattr(evaluate, "open_evaluation", fail)
    with pytest.raises(WorkerFailed):
        evaluate.evaluate(loaded.config, loaded.plan)
    said = (tmp_path / "run.log").read_text()
    assert "1 episode kept; runner.resume_dir=auto continues this evaluation" in said


def test_an_evaluation_that_finished_no_episode_does_not_speak_of_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load("toy_ppo_mlp", [f"runner.logger.log_path={tmp_path}", "runner.only_eval=true"])

    def fail(*_: object) -> None:
        raise WorkerFailed("Ray does not start")

    monkeypatch.setattr(evaluate, "open_evaluation", fail)
    with pytest.raises(WorkerFailed):
        evaluate.evaluate(loaded.config, loaded.plan)
    assert "no episode was finished" in (tmp_path / "run.log").read_text()
