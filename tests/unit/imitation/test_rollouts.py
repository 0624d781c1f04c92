"""Episodes of a policy in the toy, where the state says which step of which episode it is."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.toy.reach import STEP, ToyReach
from rlinf.imitation.episode import Episode
from rlinf.imitation.rollouts import roll_out
from rlinf.models.base import Sampling
from rlinf.models.loading import build_policy
from rlinf.models.mlp.config import MlpConfig

A, C, LIMIT = 3, 4, 9
STARTS = [Start(0, -1, 2 * seed) for seed in range(7)]


def episodes(envs: int, greedy: bool = False) -> list[Episode]:
    config = MlpConfig(
        model_type="mlp", obs_dim=3 * A, action_dim=A, num_action_chunks=C, hidden_dim=16
    )
    simulator = ToyReach(envs, obs_dim=3 * A, action_dim=A)
    batch = EpisodeBatch(simulator, EpisodeRules(max_episode_steps=LIMIT, final="none"))
    policy = build_policy(config, seed=0)
    return list(roll_out(batch, policy, Sampling(greedy=greedy), STARTS, seed=1))


def test_every_start_becomes_one_episode_with_every_step_in_it():
    found = episodes(envs=3)
    assert len(found) == len(STARTS)
    for episode in found:
        assert 1 <= len(episode) <= LIMIT and episode.sample_start.all()
        # The state holds goal - point first: an action moves the point by what it says.
        moved = episode.state[:-1, :A] - episode.state[1:, :A]
        expected = STEP * np.clip(episode.actions[:-1], -1, 1)
        assert moved == pytest.approx(expected, abs=1e-4)


def test_the_number_of_envs_changes_no_episode():
    def by_start(found: list[Episode]) -> dict[bytes, Episode]:
        return {episode.state[0].tobytes(): episode for episode in found}

    alone, together = by_start(episodes(envs=1)), by_start(episodes(envs=4))
    assert alone.keys() == together.keys()
    for key, episode in alone.items():
        assert episode.actions == pytest.approx(together[key].actions, abs=1e-6)
        assert episode.success == together[key].success
