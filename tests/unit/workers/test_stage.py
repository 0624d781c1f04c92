from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rlinf.config.schema import Config
from rlinf.data.types import Trajectory
from rlinf.errors import NumericsError, UserError
from rlinf.workers.stage import TrainStage

Toy = Callable[..., Config]
StageOf = Callable[[Config], TrainStage]


def same(first: Trajectory, second: Trajectory) -> bool:
    names = ("rows", "logprobs", "values", "rewards", "valid", "final_values")
    equal = all(np.array_equal(getattr(first, n), getattr(second, n)) for n in names)
    return equal and np.array_equal(first.sampled["draw"], second.sampled["draw"])


def test_a_trajectory_has_the_shapes_of_the_contract(toy: Toy, stage_of: StageOf):
    (trajectory,) = stage_of(toy()).collect(step=0, version=0)
    assert trajectory.rewards.shape == trajectory.valid.shape == (15, 8, 2)  # T, B, C
    assert trajectory.sampled["draw"].shape == trajectory.logprobs.shape == (15, 8, 2, 8)
    assert trajectory.values.shape == (15, 8, 2)
    assert len(trajectory.observation) == 15 * 8
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
    # 8 last observations and 8 that follow the last chunk: nothing else was valued.
    assert stage.policy.rows_valued == 16


def test_a_restored_stage_goes_on_bit_for_bit(toy: Toy, stage_of: StageOf):
    config = toy()
    stage = stage_of(config)
    stage.collect(0, version=0)
    states, begun = stage.state()
    restored = stage_of(config)
    restored.restore(states, begun)
    assert same(stage.collect(1, version=0)[0], restored.collect(1, version=0)[0])


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
