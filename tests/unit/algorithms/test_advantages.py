"""Advantages against numbers worked out by hand and a slow loop over single steps."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.algorithms.advantages import (
    chunk_level,
    episode_returns,
    equal_groups,
    gae,
    group_baseline,
    grpo,
    in_reward_bounds,
    normalize,
    rewards_to_go,
    rloo,
)


def line(*numbers: float) -> np.ndarray:
    """One env, one action per chunk: [T, 1, 1]."""
    return np.array(numbers, np.float32).reshape(-1, 1, 1)


def flags(*given: int) -> np.ndarray:
    return line(*given).astype(bool)


def test_nothing_crosses_a_reset_after_truncation():
    # gamma = lambda = 1/2; step 0 is truncated, V(final observation) = 4; then V_next = 3.
    # A_0 = 1 + 0.5 * 4 - 2 = 1.0; nothing of step 1 enters.
    # A_1 = 2 + 0.5 * 3 - 1 = 2.5
    advantages = gae(
        line(1, 2),
        line(2, 1),
        next_values=np.array([3.0]),
        final_values=np.array([[4.0], [0.0]]),
        terminated=flags(0, 0),
        truncated=flags(1, 0),
        valid=flags(1, 1),
        gamma=0.5,
        gae_lambda=0.5,
        bootstrap="truncated",
    )
    assert advantages.dtype == np.float32
    np.testing.assert_array_equal(advantages, line(1.0, 2.5))


def test_an_unfinished_episode_continues_over_chunks():
    # gamma = lambda = 1/2, V = 2, 1, then 3:
    # A_1 = 2 + 0.5 * 3 - 1 = 2.5
    # A_0 = 1 + 0.5 * 1 - 2 + 0.25 * 2.5 = -0.5 + 0.625 = 0.125
    advantages = gae(
        line(1, 2),
        line(2, 1),
        next_values=np.array([3.0]),
        final_values=np.zeros((2, 1)),
        terminated=flags(0, 0),
        truncated=flags(0, 0),
        valid=flags(1, 1),
        gamma=0.5,
        gae_lambda=0.5,
        bootstrap="truncated",
    )
    np.testing.assert_array_equal(advantages, line(0.125, 2.5))


@pytest.mark.parametrize(("bootstrap", "expected"), [("truncated", -1.0), ("always", 1.0)])
def test_termination_adds_the_final_value_only_when_asked(bootstrap, expected):
    # terminated: A = 1 - 2 = -1, or with V(final observation): 1 + 0.5 * 4 - 2 = 1
    advantages = gae(
        line(1),
        line(2),
        next_values=np.array([9.0]),
        final_values=np.array([[4.0]]),
        terminated=flags(1),
        truncated=flags(0),
        valid=flags(1),
        gamma=0.5,
        gae_lambda=0.5,
        bootstrap=bootstrap,
    )
    np.testing.assert_array_equal(advantages, line(expected))


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_an_end_inside_a_chunk_skips_the_rest_of_the_chunk(end):
    # One env, two chunks of three actions. The episode ends at action 1 of chunk 0; action 2 is
    # never executed (its numbers are poison). gamma = lambda = 1/2, all rewards 1, V(final) = 8.
    rewards = np.array([[[1, 1, 99]], [[1, 1, 1]]], np.float32)
    values = np.array([[[4, 2, 99]], [[6, 4, 2]]], np.float32)
    ended = np.array([[[0, 1, 0]], [[0, 0, 0]]], bool)
    never = np.zeros_like(ended)
    advantages = gae(
        rewards,
        values,
        next_values=np.array([10.0]),
        final_values=np.array([[8.0], [0.0]]),
        terminated=ended if end == "terminated" else never,
        truncated=ended if end == "truncated" else never,
        valid=np.array([[[1, 1, 0]], [[1, 1, 1]]], bool),
        gamma=0.5,
        gae_lambda=0.5,
        bootstrap="truncated",
    )
    # chunk 1: A_2 = 1 + 0.5*10 - 2             = 4
    #          A_1 = 1 + 0.5*2 - 4 + 0.25 * 4   = -1
    #          A_0 = 1 + 0.5*4 - 6 + 0.25 * -1  = -3.25
    # chunk 0, truncated:  A_1 = 1 + 0.5*8 - 2 = 3;  A_0 = 1 + 0.5*2 - 4 + 0.25*3 = -1.25
    #          terminated: A_1 = 1 - 2 = -1;         A_0 = -2 + 0.25 * -1 = -2.25
    first = [-1.25, 3, 0] if end == "truncated" else [-2.25, -1, 0]
    np.testing.assert_array_equal(advantages, [[first], [[-3.25, -1, 4]]])


def test_the_last_valid_action_of_a_chunk_looks_at_the_first_value_of_the_next():
    # gamma = 1, lambda = 0: A = r + V_next - V; the next chunk's first value is 5, not 3.
    values = np.array([[[1, 3]], [[5, 7]]], np.float32)
    everything = np.ones((2, 1, 2), bool)
    advantages = gae(
        np.zeros((2, 1, 2), np.float32),
        values,
        next_values=np.array([9.0]),
        final_values=np.zeros((2, 1)),
        terminated=~everything,
        truncated=~everything,
        valid=everything,
        gamma=1.0,
        gae_lambda=0.0,
        bootstrap="truncated",
    )
    np.testing.assert_array_equal(advantages, [[[2, 2]], [[2, 2]]])


def test_chunk_level_sums_valid_rewards_and_takes_any_flag():
    rewards = np.array([[[1, 2, 4], [8, 16, 32]]], np.float32)
    terminated = np.array([[[0, 1, 0], [0, 0, 0]]], bool)
    truncated = np.array([[[0, 0, 0], [0, 0, 1]]], bool)
    valid = np.array([[[1, 1, 0], [1, 1, 1]]], bool)
    summed, ended, cut, counts = chunk_level(rewards, terminated, truncated, valid)
    np.testing.assert_array_equal(summed, [[[3], [56]]])
    np.testing.assert_array_equal(ended, [[[True], [False]]])
    np.testing.assert_array_equal(cut, [[[False], [True]]])
    np.testing.assert_array_equal(counts, [[[True], [True]]])


def one_env_gae(steps, next_value, gamma, lam, always):
    """Reference: a list of single steps of one env, straight from the definition.

    A_t = sum_k (gamma * lambda)^k delta_{t+k} up to the end of t's episode.

    Args:
        steps: dicts of the executed steps: reward, value, terminated, truncated, final_value.
    """
    advantages = []
    for start in range(len(steps)):
        total, factor = 0.0, 1.0
        for k in range(start, len(steps)):
            step = steps[k]
            following = steps[k + 1]["value"] if k + 1 < len(steps) else next_value
            if step["terminated"]:
                following = step["final_value"] if always else 0.0
            elif step["truncated"]:
                following = step["final_value"]
            total += factor * (step["reward"] + gamma * following - step["value"])
            factor *= gamma * lam
            if step["terminated"] or step["truncated"]:
                break
        advantages.append(total)
    return advantages


def random_events(rng: np.random.Generator, chunks: int, envs: int, actions: int):
    """Episodes that end anywhere inside chunks; the rest of the chunk is not executed."""
    shape = (chunks, envs, actions)
    valid, terminated, truncated = (np.zeros(shape, bool) for _ in range(3))
    for t, b in np.ndindex(chunks, envs):
        for i in range(actions):
            valid[t, b, i] = True
            kind = rng.choice(["goes on", "terminated", "truncated"], p=[0.8, 0.1, 0.1])
            terminated[t, b, i], truncated[t, b, i] = kind == "terminated", kind == "truncated"
            if kind != "goes on":
                break
    return terminated, truncated, valid


@pytest.mark.parametrize("bootstrap", ["truncated", "always"])
@pytest.mark.parametrize("actions", [1, 4])
def test_gae_equals_a_loop_over_single_steps(actions, bootstrap):
    rng = np.random.default_rng(actions)
    chunks, envs, gamma, lam = 7, 5, 0.9, 0.8
    terminated, truncated, valid = random_events(rng, chunks, envs, actions)
    rewards, values = rng.normal(size=(2, *valid.shape))
    final_values, next_values = rng.normal(size=(chunks, envs)), rng.normal(size=envs)
    advantages = gae(
        rewards,
        values,
        next_values,
        final_values,
        terminated,
        truncated,
        valid,
        gamma=gamma,
        gae_lambda=lam,
        bootstrap=bootstrap,
    )
    for b in range(envs):
        executed = [(t, i) for t in range(chunks) for i in range(actions) if valid[t, b, i]]
        steps = [
            {
                "reward": rewards[t, b, i],
                "value": values[t, b, i],
                "terminated": terminated[t, b, i],
                "truncated": truncated[t, b, i],
                "final_value": final_values[t, b],
            }
            for t, i in executed
        ]
        expected = one_env_gae(steps, next_values[b], gamma, lam, bootstrap == "always")
        got = [advantages[t, b, i] for t, i in executed]
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    assert not advantages[~valid].any()


ALL = np.ones(4, bool)


def test_grpo_divides_by_the_unbiased_deviation_of_the_group():
    # group 0: returns 1, 3: mean 2, unbiased std sqrt((1 + 1) / 1) = 1.41421
    # group 1: returns 0, 4: mean 2, unbiased std sqrt(8) = 2.82843
    result = grpo(np.array([1.0, 3.0, 0.0, 4.0]), ALL, 2, epsilon=0.0)
    np.testing.assert_allclose(result, [-(0.5**0.5), 0.5**0.5, -(0.5**0.5), 0.5**0.5])


def test_grpo_without_the_deviation_is_the_difference_to_the_mean():
    result = grpo(np.array([1.0, 3.0, 0.0, 4.0]), ALL, 2, by_deviation=False)
    np.testing.assert_array_equal(result, [-1, 1, -2, 2])


def test_rloo_compares_with_the_mean_of_the_others():
    # 6 - (0 + 3) / 2 = 4.5; 0 - (6 + 3) / 2 = -4.5; 3 - (6 + 0) / 2 = 0
    result = rloo(np.array([6.0, 0.0, 3.0]), np.ones(3, bool), 3)
    np.testing.assert_allclose(result, [4.5, -4.5, 0.0])


def test_the_group_baseline_is_the_mean_of_the_group():
    result = group_baseline(np.array([6.0, 0.0, 3.0]), np.ones(3, bool), 3)
    np.testing.assert_allclose(result, [3.0, -3.0, 0.0])


@pytest.mark.parametrize("estimator", [grpo, rloo, group_baseline])
def test_advantages_are_exactly_zero_where_all_of_a_group_are_alike(estimator):
    # 0.1 + 0.1 + 0.1 is not 3 * 0.1 in floating point: the group's mean differs from its members.
    result = estimator(np.array([0.1, 0.1, 0.1, 5.0, 5.0, 6.0]), np.ones(6, bool), 3)
    np.testing.assert_array_equal(result[:3], 0.0)
    assert np.all(result[3:] != 0.0)


def groups_by_hand(kind, returns, counted, size):
    """Reference: each group as a plain list of the episodes that count, one by one."""
    result = [0.0] * len(returns)
    for first in range(0, len(returns), size):
        members = [b for b in range(first, first + size) if counted[b]]
        for b in members:
            others = [returns[j] for j in members if j != b]
            if not others:
                continue
            mean = sum(returns[j] for j in members) / len(members)
            deviation = sum((returns[j] - mean) ** 2 for j in members) / (len(members) - 1)
            result[b] = {
                "grpo": (returns[b] - mean) / (deviation**0.5 + 1e-6),
                "rloo": returns[b] - sum(others) / len(others),
                "baseline": returns[b] - mean,
            }[kind]
    return result


@pytest.mark.parametrize(
    ("kind", "estimator"), [("grpo", grpo), ("rloo", rloo), ("baseline", group_baseline)]
)
def test_envs_that_do_not_count_leave_their_group_as_if_it_were_smaller(kind, estimator):
    rng = np.random.default_rng(3)
    returns, counted = rng.normal(size=40), rng.random(40) < 0.6
    counted[:8] = [1, 0, 0, 0, 0, 0, 0, 0]  # a group of one, and a group of none
    returns[~counted] = 1e9
    expected = groups_by_hand(kind, returns.tolist(), counted.tolist(), 4)
    np.testing.assert_allclose(estimator(returns, counted, 4), expected, rtol=1e-12, atol=1e-12)


def test_a_group_is_equal_where_all_that_count_have_the_same_return():
    returns = np.array([1.0, 1.0, 0.0, 1.0, 5.0, 0.1, 0.0, 0.0])
    counted = np.array([1, 1, 1, 1, 0, 1, 0, 0], bool)
    np.testing.assert_array_equal(equal_groups(returns, counted, 2), [True, False, True, True])


def test_rewards_to_go_discount_per_entry_over_chunks_and_skip_what_was_not_executed():
    # gamma 1/2; entries in time 1, 2, (99 not executed), 4:
    # G_3 = 4; G_1 = 2 + 4 / 2 = 4; G_0 = 1 + 4 / 2 = 3
    rewards = np.array([[[1, 2, 99]], [[4, 99, 99]]], np.float32)
    valid = np.array([[[1, 1, 0]], [[1, 0, 0]]], bool)
    result = rewards_to_go(rewards, valid, 0.5)
    np.testing.assert_array_equal(result, [[[3, 4, 0]], [[4, 0, 0]]])


def test_grpo_counts_rewards_up_to_and_including_the_end():
    rewards = np.array([[[1, 2], [1, 2]], [[4, 8], [4, 8]]], np.float32)
    mask = np.array([[[1, 1], [1, 0]], [[1, 0], [0, 0]]], bool)
    np.testing.assert_array_equal(episode_returns(rewards, mask), [7.0, 1.0])


def test_the_reward_filter_keeps_groups_within_both_bounds():
    # reward 5 for success, groups of two: mean returns 0, 2.5, 5
    returns = np.array([0.0, 0.0, 0.0, 5.0, 5.0, 5.0])
    expected = [False, False, True, True, False, False]
    every = np.ones(6, bool)
    np.testing.assert_array_equal(in_reward_bounds(returns, every, 2, 0.5, 4.5), expected)
    np.testing.assert_array_equal(in_reward_bounds(returns, every, 2, 0.0, 5.0), [True] * 6)


def test_a_group_is_judged_by_the_envs_that_count_and_left_out_without_any():
    returns, counted = np.array([5.0, 5.0, 0.0, 5.0, 1.0, 1.0]), np.array([0, 1, 1, 1, 0, 0], bool)
    expected = [False, False, True, True, False, False]  # means 5, 2.5, none
    np.testing.assert_array_equal(in_reward_bounds(returns, counted, 2, 0.0, 4.5), expected)


def test_normalisation_uses_the_unbiased_deviation_of_valid_entries():
    # valid 1, 3, 5: mean 3, unbiased std sqrt((4 + 0 + 4) / 2) = 2
    given = np.array([[1.0, 99.0], [3.0, 5.0]], np.float32)
    mask = np.array([[1, 0], [1, 1]], bool)
    result = normalize(given, mask, epsilon=0.0)
    np.testing.assert_array_equal(result, [[-1, 0], [0, 1]])


def test_normalisation_of_equal_entries_is_exactly_zero():
    mask = np.ones((3, 1), bool)
    np.testing.assert_array_equal(normalize(np.full((3, 1), 0.1), mask), np.zeros((3, 1)))


@pytest.mark.parametrize("valid", [0, 1])
def test_normalisation_of_no_or_one_entry_is_zero(valid):
    mask = np.zeros((2, 2), bool)
    mask.flat[:valid] = True
    np.testing.assert_array_equal(normalize(np.full((2, 2), 7.0), mask), np.zeros((2, 2)))
