from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlinf.config.schema import Config
from rlinf.data.types import EpisodeResult
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.factory import make_batch
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.starts import evaluation_starts
from rlinf.errors import EnvironmentFailure
from rlinf.workers.evaluation import EvalStage
from rlinf.workers.rollout import RolloutWorker
from rlinf.workers.stage import TrainStage
from tests.unit.workers.conftest import LocalPolicy

Toy = Callable[..., Config]
StageOf = Callable[[Config], TrainStage]


def evaluate(config: Config, envs: int, folder: Path) -> dict[tuple[int, ...], object]:
    worker = RolloutWorker(config, rank=0, threads=1, log_dir=str(folder))
    batch = make_batch(config.env.eval, envs, 0, "none", 0, folder / "eval.log")
    starts = evaluation_starts(5, 1, 11)
    kept: list[EpisodeResult] = []
    stage = EvalStage(config, batch, LocalPolicy(worker), 0)
    episodes = stage.run(starts, 0, version=0, keep=kept.extend)
    assert kept == episodes
    assert sorted(e.start for e in episodes) == sorted(starts)  # each exactly once
    return {tuple(e.start): (e.length, e.success_once) for e in episodes}


def test_an_evaluation_does_not_depend_on_the_number_of_envs(toy: Toy, tmp_path: Path):
    config = toy("algorithm.sampling_params.do_sample=true")
    results = [evaluate(config, envs, tmp_path) for envs in (1, 4, 16)]
    assert results[0] == results[1] == results[2]


def test_a_video_shows_the_first_episode_of_each_shown_env_to_its_end(
    toy: Toy, tmp_path: Path, unequal: None
):
    """The quick ones have begun others long before the slowest ends."""
    video = "env.eval.video_cfg={save_video: true, num_envs_shown: 4}"
    config = toy("algorithm.sampling_params.do_sample=true", video)
    worker = RolloutWorker(config, rank=0, threads=1, log_dir=str(tmp_path))
    batch = make_batch(config.env.eval, 6, 0, "none", 0, tmp_path / "eval.log")
    starts = evaluation_starts(5, 1, 36)
    found = EvalStage(config, batch, LocalPolicy(worker), 0).run(
        starts, 0, version=0, keep=lambda episodes: None
    )
    first = {env: next(e.length for e in found if e.start == starts[env]) for env in range(4)}
    assert max(first.values()) > 3 * min(first.values())
    frames = batch.take_frames()
    assert {frame.env for frame in frames} == set(first)
    for env, length in first.items():
        shown = [frame for frame in frames if frame.env == env]
        assert [frame.step for frame in shown] == list(range(length + 1))
        assert [frame.ended for frame in shown] == [False] * length + [True]


def drifting(config: Config, envs: int, folder: Path) -> EvalStage:
    """An evaluation whose simulator is killed at its second step, once, and cannot replay."""
    settings = {"fault": "kill", "marker": str(folder / "failed")}
    rules = EpisodeRules(max_episode_steps=config.env.eval.max_episode_steps, final="none")
    drifter = "tests.unit.envs.hosting.faulty:Drifter"
    batch = ProcessBatch(drifter, settings, envs, rules, 1, folder / "log", 60.0, retries=3)
    worker = RolloutWorker(config, rank=0, threads=1, log_dir=str(folder))
    return EvalStage(config, batch, LocalPolicy(worker), 0)


SMALL = ("actor.model.obs_dim=4", "actor.model.action_dim=2", "env.eval.init_params.obs_dim=4")
SMALL += ("env.eval.init_params.action_dim=2", "env.train.init_params.obs_dim=4")
SMALL += ("env.train.init_params.action_dim=2", "actor.model.num_action_chunks=1")


def test_an_evaluation_runs_what_was_dropped_again_so_that_each_start_counts_once(
    toy: Toy, tmp_path: Path
):
    stage = drifting(toy(*SMALL), 2, tmp_path)
    starts = evaluation_starts(5, 1, 5)
    kept: list[EpisodeResult] = []
    episodes = stage.run(starts, 0, version=0, keep=kept.extend)
    stage.batch.close()
    assert stage.batch.restarts == 1 and stage.dropped.total() == 2
    assert kept == episodes and not any(episode.dropped for episode in episodes)
    assert sorted(episode.start for episode in episodes) == sorted(starts)


def test_an_evaluation_whose_simulator_keeps_failing_ends_with_the_start(toy: Toy, tmp_path: Path):
    stage = drifting(toy(*SMALL, "runner.max_failures=0"), 2, tmp_path)
    with pytest.raises(EnvironmentFailure, match=r"failed 1 times in episodes from Start\("):
        stage.run(evaluation_starts(5, 1, 5), 0, version=0, keep=lambda episodes: None)
    stage.batch.close()
