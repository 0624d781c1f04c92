from __future__ import annotations

from collections.abc import Callable

import numpy as np

from rlinf.config.schema import Config
from rlinf.data.layout import ObservationTable
from rlinf.data.types import TrainBatch
from rlinf.runners.samples import make_samples
from rlinf.workers.stage import TrainStage
from tests.unit.workers.conftest import GROUPS

Toy = Callable[..., Config]
StageOf = Callable[[Config], TrainStage]


def test_the_envs_of_a_group_start_alike_and_groups_differ(toy: Toy, stage_of: StageOf):
    stage = stage_of(toy(*GROUPS))
    (trajectory,) = stage.collect(0, version=0)
    first = trajectory.observation.state[:8]
    assert (first[:4] == first[0]).all() and (first[4:] == first[4]).all()
    assert not np.array_equal(first[0], first[4])


def test_an_ended_env_is_neither_simulated_nor_asked_about(toy: Toy, stage_of: StageOf):
    stage = stage_of(toy(*GROUPS))
    (trajectory,) = stage.collect(0, version=0)
    acted = trajectory.rows >= 0
    assert np.array_equal(acted, trajectory.valid.any(axis=2))
    assert stage.policy.rows_valued == 0  # no critic: no value is ever asked for
    assert len(trajectory.episodes) == 8


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
        assert np.array_equal(ours.rows >= 0, theirs.rows >= 0)
    ours, theirs = make_samples(found, config)[0], make_samples(expected, config)[0]
    for one, other in zip(seen_by(ours), seen_by(theirs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    np.testing.assert_allclose(ours.advantages, theirs.advantages, atol=1e-4)
    assert sum(asked) == sum(int((t.rows >= 0).sum()) for t in expected)
    assert len(asked) < sum(int((t.rows >= 0).any(axis=1).sum()) for t in expected)


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
