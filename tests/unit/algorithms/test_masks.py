from __future__ import annotations

import numpy as np

from rlinf.algorithms.masks import (
    at_reward_level,
    episode_lengths,
    length_weights,
    until_first_end,
)

# [T, B, C] = [3, 2, 2]; env 0 ends at its second and fifth action, env 1 never.
ENDED = np.array([[[0, 1], [0, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]], bool)


def test_the_action_that_ends_the_episode_counts_and_later_ones_do_not():
    mask = until_first_end(ENDED, np.ones((3, 2, 2), bool))
    np.testing.assert_array_equal(mask[:, 0], [[1, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(mask[:, 1], np.ones((3, 2)))


def test_actions_that_were_not_executed_never_count():
    valid = np.ones((3, 2, 2), bool)
    valid[0, 1, 0] = False
    assert not until_first_end(ENDED, valid)[0, 1, 0]


def test_lengths_count_actions_over_all_chunks():
    np.testing.assert_array_equal(episode_lengths(~ENDED), [4, 6])


def test_length_weights_are_limit_over_length_on_valid_actions():
    weights = length_weights(~ENDED, 12)  # lengths 4 and 6: weights 3 and 2
    np.testing.assert_array_equal(weights[:, 0], [[3, 0], [3, 3], [0, 3]])
    np.testing.assert_array_equal(weights[:, 1], np.full((3, 2), 2))


def test_an_env_without_valid_actions_has_no_weight():
    assert not length_weights(np.zeros((2, 1, 2), bool), 10).any()


def test_a_chunk_counts_if_any_of_its_actions_does():
    mask = np.array([[1, 0], [0, 0]], bool)
    np.testing.assert_array_equal(at_reward_level(mask, 1), [[True], [False]])
    np.testing.assert_array_equal(at_reward_level(mask, 2), mask)
