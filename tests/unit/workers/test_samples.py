"""From trajectories to samples, with groups that are replaced and episodes that are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from rlinf.config.schema import Config
from rlinf.data.types import Trajectory
from rlinf.metrics.types import Metrics, Total
from rlinf.runners.samples import collect_trajectories, make_samples
from rlinf.workers.stage import TrainStage
from tests.unit.workers.conftest import GROUPS

Toy = Callable[..., Config]
StageOf = Callable[[Config], TrainStage]
ONE_MORE = ("algorithm.filter_rewards=true", "algorithm.max_refills=3")


class OneWorker:
    """A stage in place of the env workers, whose rewards are given: [rollout][env]."""

    def __init__(self, stage: TrainStage, returns: list[list[float]]) -> None:
        self.stage, self.returns = stage, returns
        self.asked: list[range] = []

    def collect(
        self, step: int, epochs: range, shares: np.ndarray | None
    ) -> tuple[list[Trajectory], Metrics]:
        self.asked.append(epochs)
        trajectories = self.stage.collect(step, 0, epochs)
        for trajectory, returns in zip(trajectories, self.returns[epochs.start :], strict=False):
            trajectory.rewards[:] = 0
            trajectory.rewards[0, :, 0] = returns
        return trajectories, Metrics({"faults/env_restarts": Total(1)})


SPLIT, EQUAL = [1.0, 0.0, 0.0, 1.0], [1.0] * 4  # mean returns of a group of four: 0.5 and 1


def test_filtered_groups_are_replaced_until_there_are_enough(toy: Toy, stage_of: StageOf):
    # Two groups in a rollout: of the first both are filtered, of the second none.
    config = toy(*GROUPS, *ONE_MORE)
    workers = OneWorker(stage_of(config), [EQUAL + EQUAL, SPLIT + SPLIT, SPLIT + SPLIT])
    trajectories, faults = collect_trajectories(workers, 0, config)
    assert workers.asked == [range(1), range(1, 2)]
    assert faults.reduce() == {"faults/env_restarts": 2}
    starts = [t.observation.state[:8] for t in trajectories]
    assert not np.array_equal(*starts)
    batch, metrics = make_samples(trajectories, config)
    assert metrics["rollout/refills"] == 1
    assert metrics["rollout/filtered_groups"] == 0.5
    assert batch.planned == 80  # 10 chunks x 8 envs: the number of updates stays what was planned
    assert set(batch.objects) == {1}  # the second rollout


def test_there_is_an_end_to_refills(toy: Toy, stage_of: StageOf):
    config = toy(*GROUPS, *ONE_MORE)
    workers = OneWorker(stage_of(config), [EQUAL + EQUAL] * 4)
    trajectories, _ = collect_trajectories(workers, 0, config)
    assert len(trajectories) == len(workers.asked) == 4
    batch, metrics = make_samples(trajectories, config)
    assert len(batch) == 0
    assert metrics["rollout/filtered_groups"] == metrics["rollout/equal_groups"] == 1


def test_groups_beyond_the_plan_are_not_trained_on(toy: Toy, stage_of: StageOf):
    config = toy(*GROUPS, *ONE_MORE)
    workers = OneWorker(stage_of(config), [EQUAL + SPLIT, SPLIT + SPLIT])
    trajectories, _ = collect_trajectories(workers, 0, config)
    batch, _ = make_samples(trajectories, config)
    planned = [trajectories[0].valid[:, 4:], trajectories[1].valid[:, :4]]
    assert len(batch) == sum(valid.any(axis=2).sum() for valid in planned)


def test_samples_without_advantage_are_marked_as_not_worth_computing(toy: Toy, stage_of: StageOf):
    config = toy(*GROUPS)
    workers = OneWorker(stage_of(config), [EQUAL + SPLIT])
    trajectories, _ = collect_trajectories(workers, 0, config)
    batch, metrics = make_samples(trajectories, config)
    valid = trajectories[0].valid.any(axis=2)
    assert len(batch) == valid.sum() and batch.trained.sum() == valid[:, 4:].sum()
    assert metrics["rollout/equal_groups"] == 0.5
    with_entropy = toy(*GROUPS, "algorithm.entropy_bonus=0.01")
    assert make_samples(trajectories, with_entropy)[0].trained.all()


def test_dropped_episodes_are_counted_apart(toy: Toy, stage_of: StageOf):
    config = toy(*GROUPS)
    workers = OneWorker(stage_of(config), [[*SPLIT, np.nan, 1.0, 0.0, 0.0]])
    (trajectory,), _ = collect_trajectories(workers, 0, config)
    episodes = tuple(
        replace(e, episode_return=np.nan, dropped=True) if e.env == 4 else e
        for e in trajectory.episodes
    )
    _, metrics = make_samples([replace(trajectory, episodes=episodes)], config)
    assert (metrics["faults/bad_rewards"], metrics["faults/dropped_episodes"]) == (0, 1)
    assert metrics["env/num_episodes"] == 7


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_an_episode_with_a_broken_reward_counts_nowhere_but_among_the_faults(
    toy: Toy, stage_of: StageOf, broken: float
):
    config = toy(*GROUPS)
    workers = OneWorker(stage_of(config), [[*SPLIT, broken, 1.0, 0.0, 0.0]])
    (trajectory,), _ = collect_trajectories(workers, 0, config)
    lost = [replace(e, episode_return=broken) if e.env == 4 else e for e in trajectory.episodes]
    batch, metrics = make_samples([replace(trajectory, episodes=tuple(lost))], config)
    assert metrics["faults/bad_rewards"] == 1
    assert metrics["env/num_episodes"] == 7
    assert all(np.isfinite(value) for value in metrics.values())
    assert np.isfinite(batch.advantages).all()
    acted = trajectory.valid.any(axis=2)
    assert len(batch) == acted.sum() - acted[:, 4].sum()
    # The others are compared among themselves: returns 1, 0, 0, mean 1/3, unbiased std 0.57735.
    first = {
        int(r): a
        for r, a in zip(batch.rows, batch.advantages[:, 0], strict=True)
        if r < 8  # of the first chunk
    }
    assert first[5] == pytest.approx((2 / 3) / 0.5773503, abs=1e-4)
