"""`rlinf eval` says what is kept when it ends early."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlinf.config.load import Loaded, load
from rlinf.data.types import EpisodeResult, Start
from rlinf.errors import WorkerFailed
from rlinf.metrics.comparison import compared
from rlinf.metrics.evaluation import EvaluationFile, Shard, read_evaluation
from rlinf.metrics.journal import Journal
from rlinf.runners import evaluate
from rlinf.runners.compare import merge
from rlinf.runners.run import open_run
from rlinf.runners.workers import Workers
from rlinf.workers.env import EnvWorker
from rlinf.workers.rollout import RolloutWorker
from tests.unit.workers.conftest import LocalPolicy

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


class OneWorker:
    """A group of one env worker in this process, with the real loop of `Workers.evaluate`."""

    def __init__(self, loaded: Loaded, folder: Path) -> None:
        policy = LocalPolicy(RolloutWorker(loaded.config, 0, threads=1, log_dir=str(folder)))
        self.worker = EnvWorker(loaded.config, 0, 1, loaded.plan, policy, str(folder))
        self.env, self.version = self, 0

    def __len__(self) -> int:
        return 1

    def call(self, method: str, *arguments: Any) -> list[Any]:
        return [getattr(self.worker, method)(*arguments)]

    def call_each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        (own,) = arguments
        return self.call(method, *own)

    def _wait(self, answers: list[Any]) -> list[Any]:
        return answers

    def evaluate(self, *arguments: Any) -> Any:
        return Workers.evaluate(self, *arguments)  # type: ignore[arg-type]


SMALL = ("env.eval.total_num_envs=4", "env.eval.num_trials=4", "actor.model.hidden_dim=16")
SMALL += ("env.eval.max_episode_steps=10", "env.train.max_episode_steps=10")
SMALL += ("algorithm.eval_rollout_epoch=2", "algorithm.sampling_params.do_sample=true")
FILMS = ("env.eval.video_cfg.save_video=true", "env.eval.video_cfg.only=failures")


def evaluated(folder: Path, *overrides: str) -> EvaluationFile:
    words = [f"runner.logger.log_path={folder}", "runner.only_eval=true", *SMALL, *overrides]
    loaded = load("toy_ppo_mlp", words)
    with open_run(loaded.config) as run:
        workers = OneWorker(loaded, folder)
        evaluator = evaluate.Evaluator(loaded.config, run, workers)  # type: ignore[arg-type]
        evaluator.evaluate(0, "all tasks", folder / evaluate.JOURNAL)
        workers.worker.close()
    return read_evaluation(folder / "eval" / "step_0.json")


def trials(file: EvaluationFile) -> list[tuple[object, ...]]:
    return [(one.key, one.success_once, one.length) for one in file.episodes]


def test_an_evaluation_writes_every_trial_with_the_videos_of_failures(tmp_path: Path) -> None:
    file = evaluated(tmp_path, *FILMS)
    assert len({one.key for one in file.episodes}) == 4 * 2
    assert {one.repeat for one in file.episodes} == {0, 1}
    failed = [one for one in file.episodes if not one.success_once]
    assert failed and all((tmp_path / str(one.video)).is_file() for one in failed)
    assert not any(one.video for one in file.episodes if one.success_once)
    page = (tmp_path / "eval" / "step_0.html").read_text()
    assert page.count("<video ") == len(failed)
    assert f"../{failed[0].video}" in page


def test_an_evaluation_that_was_killed_counts_each_trial_once(tmp_path: Path) -> None:
    whole = evaluated(tmp_path)
    journals = list((tmp_path / evaluate.JOURNAL).glob("*.jsonl"))
    lines = journals[0].read_text().splitlines(keepends=True)
    journals[0].write_text("".join(lines[:5]) + lines[5][:20])
    assert trials(evaluated(tmp_path, "env.eval.total_num_envs=2")) == trials(whole)


def test_kept_episodes_of_more_repeats_do_not_count(tmp_path: Path) -> None:
    whole = evaluated(tmp_path)
    once = evaluated(tmp_path, "algorithm.eval_rollout_epoch=1")
    assert trials(once) == [one for one in trials(whole) if one[0].repeat == 0]
    assert once.overall.episodes == 4 and once.settings["repeats"] == 1


def test_shards_that_are_merged_are_the_whole_evaluation(tmp_path: Path) -> None:
    whole = evaluated(tmp_path / "whole")
    for index in range(2):
        part = evaluated(tmp_path / str(index), "env.eval.num_shards=2", f"env.eval.shard={index}")
        assert part.shard == Shard(index=index, count=2)
        assert trials(part) == [one for one in trials(whole) if one[0].trial % 2 == index]
    merge([tmp_path / "0", tmp_path / "1"], tmp_path / "merged")
    merged = read_evaluation(tmp_path / "merged" / "eval" / "step_0.json")
    assert trials(merged) == trials(whole)
    assert (merged.overall, merged.settings) == (whole.overall, whole.settings)
    rows = compared(whole, merged)
    assert rows[-1].starts == 4 and rows[-1].change == 0
