from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlinf.config.schema import Config
from rlinf.data.layout import ObservationTable
from rlinf.data.types import EpisodeResult, TrainBatch, Trajectory
from rlinf.envs.base import StepResult
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.factory import make_batch
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.starts import evaluation_starts
from rlinf.envs.toy.reach import ToyReach
from rlinf.errors import EnvironmentFailure, NumericsError, UserError
from rlinf.runners.samples import make_samples
from rlinf.workers.rollout import RolloutWorker
from rlinf.workers.stage import EvalStage, TrainStage
from tests.unit.workers.conftest import LocalPolicy

Toy = Callable[..., Config]
StageOf = Callable[[Config], TrainStage]
GROUPS = (
    "env.train.auto_reset=false",
    "env.train.max_steps_per_rollout_epoch=20",
    "env.train.group_size=4",
    "env.train.use_fixed_reset_state_ids=true",
    "algorithm.adv_type=grpo",
    "algorithm.loss_type=actor",
    "actor.model.add_value_head=false",
    "actor.global_batch_size=40",
    "actor.micro_batch_size=8",
)


def same(first: Trajectory, second: Trajectory) -> bool:
    names = ("objects", "rows", "logprobs", "values", "rewards", "valid", "final_values")
    equal = all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names)
    return equal and np.array_equal(first.sampled["draw"], second.sampled["draw"])


def test_a_trajectory_has_the_shapes_of_the_contract(toy: Toy, stage_of: StageOf):
    (trajectory,) = stage_of(toy()).collect(step=0, version=0)
    assert trajectory.rewards.shape == trajectory.valid.shape == (15, 8, 2)  # T, B, C
    assert trajectory.sampled["draw"].shape == trajectory.logprobs.shape == (15, 8, 2, 8)
    assert trajectory.values.shape == (15, 8, 2)
    assert len(trajectory.observations) == 15
    assert trajectory.next_values.shape == (8,) and (trajectory.next_values != 0).all()


def test_the_same_step_gives_the_same_trajectory_bit_for_bit(toy: Toy, stage_of: StageOf):
    first, second = (stage_of(toy()).collect(step=3, version=0)[0] for _ in range(2))
    assert same(first, second)


def test_with_partial_reset_episodes_run_on_over_iterations(toy: Toy, stage_of: StageOf):
    stage = stage_of(toy("env.train.ignore_terminations=true"))
    ended = []
    for step in range(2):
        (trajectory,) = stage.collect(step, version=0)
        ended.append(np.flatnonzero(trajectory.truncated[:, 0].any(axis=1)).tolist())
    # 20 steps are 10 chunks, an iteration is 15: ends after chunks 10, 20 and 30 of both together.
    assert ended == [[9], [4, 14]]


def test_values_of_last_observations_are_asked_for_truncated_ends_only(toy: Toy, stage_of: StageOf):
    stage = stage_of(toy("env.train.ignore_terminations=true"))
    (trajectory,) = stage.collect(0, version=0)
    known = trajectory.final_values != 0
    assert np.array_equal(known, trajectory.truncated.any(axis=2))
    # 8 last observations and 8 that follow the last chunk: nothing else was judged.
    assert stage.policy.rows_judged == 16


def test_a_restored_stage_goes_on_bit_for_bit(toy: Toy, stage_of: StageOf):
    config = toy()
    stage = stage_of(config)
    stage.collect(0, version=0)
    states, begun = stage.state()
    restored = stage_of(config)
    restored.restore(states, begun)
    assert same(stage.collect(1, version=0)[0], restored.collect(1, version=0)[0])


def test_the_envs_of_a_group_start_alike_and_groups_differ(toy: Toy, stage_of: StageOf):
    stage = stage_of(toy(*GROUPS))
    (trajectory,) = stage.collect(0, version=0)
    first = trajectory.observations[0].state
    assert (first[:4] == first[0]).all() and (first[4:] == first[4]).all()
    assert not np.array_equal(first[0], first[4])


def test_an_ended_env_is_neither_simulated_nor_asked_about(toy: Toy, stage_of: StageOf):
    stage = stage_of(toy(*GROUPS))
    (trajectory,) = stage.collect(0, version=0)
    acted = trajectory.rows >= 0
    assert np.array_equal(acted, trajectory.valid.any(axis=2))
    assert stage.policy.rows_judged == 0  # no critic: no value is ever asked for
    assert len(trajectory.episodes) == 8


@pytest.fixture
def unequal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of the toy end anywhere between their first step and the limit."""
    step = ToyReach.step

    def ends_anywhere(self: Any, actions: np.ndarray, active: np.ndarray) -> StepResult:
        rewards = step(self, actions, active).rewards
        ended = active & (np.abs(self._point).sum(axis=1) * 7 % 1 < 0.15)
        return StepResult(rewards, ended, ended.copy())

    monkeypatch.setattr(ToyReach, "step", ends_anywhere)


def test_an_env_that_is_through_begins_its_next_episode_before_the_slowest_is(
    toy: Toy, stage_of: StageOf, unequal: None
):
    """Samples, starts and episodes are those of one rollout epoch after the other."""
    config = toy(*GROUPS)
    turns, asked = stage_of(config), []
    expected = [trajectory for epoch in range(3) for trajectory in turns.collect(4, 0, [epoch])]
    packed = stage_of(config)
    act = packed.policy.act
    packed.policy.act = lambda seen, *rest: asked.append(len(seen)) or act(seen, *rest)
    found = packed.collect(4, 0, range(3))
    lengths = [[episode.length for episode in t.episodes] for t in expected]
    assert len({length for of_epoch in lengths for length in of_epoch}) > 3, lengths
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.episodes == theirs.episodes
        assert np.array_equal(ours.valid, theirs.valid)
        assert np.array_equal(ours.terminated, theirs.terminated)
        # Matrix products of other sizes differ in the last bits.
        np.testing.assert_allclose(ours.sampled["draw"], theirs.sampled["draw"], atol=1e-4)
        for name in ("logprobs", "rewards"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=1e-4)
        assert np.array_equal(ours.objects >= 0, theirs.objects >= 0)
    ours, theirs = make_samples(found, config)[0], make_samples(expected, config)[0]
    for one, other in zip(seen_by(ours), seen_by(theirs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_allclose(ours.advantages, theirs.advantages, atol=1e-4)
    assert sum(asked) == sum(int((t.objects >= 0).sum()) for t in expected)
    assert len(asked) < sum(len(t.observations) for t in expected)


def seen_by(batch: TrainBatch) -> np.ndarray:
    """[N, D], the state that each sample was acted on."""
    return ObservationTable(batch.observations).take(batch.objects, batch.rows).state


def test_last_observations_are_valued_for_the_rollout_epoch_they_belong_to(
    toy: Toy, stage_of: StageOf, unequal: None
):
    critic = ("algorithm.adv_type=gae", "algorithm.loss_type=actor_critic")
    critic += ("actor.model.add_value_head=true", "algorithm.bootstrap=always")
    config = toy(*GROUPS, *critic)
    turns = stage_of(config)
    expected = [trajectory for epoch in range(2) for trajectory in turns.collect(0, 0, [epoch])]
    found = stage_of(config).collect(0, 0, range(2))
    for ours, theirs in zip(found, expected, strict=True):
        ends = (theirs.terminated | theirs.truncated).any(axis=2)
        assert np.array_equal(ours.final_values != 0, ends)
        np.testing.assert_allclose(ours.final_values, theirs.final_values, atol=1e-4)


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


def test_actions_that_are_not_finite_never_reach_the_simulator(toy: Toy, stage_of: StageOf):
    stage = stage_of(toy())
    with torch.no_grad():
        stage.policy.worker.policy.log_std.fill_(torch.nan)
    with pytest.raises(NumericsError, match="actions for env 0 are not finite"):
        stage.collect(0, 0)


def test_actions_of_another_size_are_refused(toy: Toy, stage_of: StageOf):
    stage = stage_of(toy())
    stage.batch.action_dim = 7  # of which the configuration could not know
    with pytest.raises(UserError, match="action_dim = 8: the simulator's actions have 7 numbers"):
        stage.collect(0, 0)
