from __future__ import annotations

import numpy as np

from rlinf.algorithms.masks import (
    at_reward_level,
    episode_lengths,
    length_weights,
    sound_episodes,
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


def test_an_episode_with_a_reward_that_is_not_finite_is_lost_and_its_neighbours_are_not():
    # Three envs of four actions in two chunks. Env 0: episodes of 1, 2 and 1 actions, the second
    # broken by its last reward. Env 1: an episode that goes on, broken by its first. Env 2: sound.
    ended = np.zeros((2, 3, 2), bool)
    ended[0, 0, 0] = ended[1, 0, 0] = True
    rewards = np.zeros((2, 3, 2))
    rewards[1, 0, 0], rewards[0, 1, 0] = np.nan, -np.inf
    valid = np.ones((2, 3, 2), bool)
    sound = sound_episodes(rewards, ended, valid)
    assert sound[:, 0].reshape(-1).tolist() == [True, False, False, True]
    assert not sound[:, 1].any() and sound[:, 2].all()
    assert valid.all()


def test_a_reward_of_an_action_that_was_not_executed_plays_no_role():
    valid = np.array([[[1, 0]]], bool)
    rewards = np.array([[[1.0, np.nan]]])
    assert sound_episodes(rewards, np.zeros_like(valid), valid) is valid
