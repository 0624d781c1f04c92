from __future__ import annotations

import numpy as np
import pytest

from rlinf.imitation.demonstrations import Demonstrations
from tests.unit.imitation.recorded import episode


@pytest.fixture
def data() -> Demonstrations:
    """Two episodes of 4 and 3 steps; steps 2 of each begin no sample."""
    return Demonstrations.of_episodes([episode(0, 4), episode(1, 3, success=False)])


def test_a_chunk_ends_with_its_episode_and_repeats_the_last_action(data):
    assert data.starts.tolist() == [0, 1, 3, 4, 5]
    chunks = data.chunks(np.array([1, 2, 4]), chunk=3)
    wanted = [[1, 2, 3], [3, 3, 3], [5, 6, 6]]
    assert np.array_equal(chunks, data.actions[wanted])


def test_the_return_of_a_success_is_discounted_per_chunk_and_that_of_a_failure_is_zero(data):
    # 4, 3 and 1 steps before the end of a solved episode, chunks of 2, gamma 1/4: 4^-(n/2) = 2^-n.
    values = data.values(np.arange(5), chunk=2, gamma=0.25)
    assert values == pytest.approx([1 / 16, 1 / 8, 1 / 2, 0, 0])


def test_statistics_are_those_of_the_actions_that_are_learned(data):
    found = data.action_statistics(chunk=2)
    assert (found.actions, found.episodes) == (10, 2)
    assert found.maximum == pytest.approx(data.actions[[0, 1, 2, 3, 4, 5, 6]].max(axis=0))


def test_whole_episodes_are_held_out_and_always_the_same_ones():
    data = Demonstrations.of_episodes([episode(i, 3) for i in range(10)])
    learned, held_out = data.split(0.2, seed=3)
    assert len(learned) == 16 and len(held_out) == 4
    parts = [set(part.episode[part.starts]) for part in (learned, held_out)]
    assert not parts[0] & parts[1] and parts[0] | parts[1] == set(range(10))
    again = data.split(0.2, seed=3)[1]
    assert np.array_equal(again.starts, held_out.starts)
    other = data.split(0.2, seed=4)[1]
    assert not np.array_equal(other.starts, held_out.starts)


def test_nothing_is_held_out_without_a_share_and_one_episode_with_a_small_one(data):
    assert len(data.split(0.0, seed=0)[1]) == 0
    learned, held_out = data.split(0.01, seed=0)
    assert len(held_out) > 0 and len(learned) > 0
