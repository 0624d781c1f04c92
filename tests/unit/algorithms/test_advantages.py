"""Advantages against numbers worked out by hand and a slow loop over single steps."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.algorithms.advantages import (
    AdvantageSettings,
    chunk_level,
    episode_returns,
    estimate,
    gae,
    grpo,
    in_reward_bounds,
    normalize,
)
from rlinf.data.types import Trajectory


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


def test_grpo_divides_by_the_unbiased_deviation_of_the_group():
    # group 0: returns 1, 3: mean 2, unbiased std sqrt((1 + 1) / 1) = 1.41421
    # group 1: returns 0, 4: mean 2, unbiased std sqrt(8) = 2.82843
    result = grpo(np.array([1.0, 3.0, 0.0, 4.0]), 2, epsilon=0.0)
    np.testing.assert_allclose(result, [-(0.5**0.5), 0.5**0.5, -(0.5**0.5), 0.5**0.5])


def test_grpo_is_exactly_zero_where_all_of_a_group_are_alike():
    # 0.1 + 0.1 + 0.1 is not 3 * 0.1 in floating point: the group's mean differs from its members.
    result = grpo(np.array([0.1, 0.1, 0.1, 5.0, 5.0, 6.0]), 3)
    np.testing.assert_array_equal(result[:3], 0.0)
    assert np.all(result[3:] != 0.0)


def test_grpo_counts_rewards_up_to_and_including_the_end():
    rewards = np.array([[[1, 2], [1, 2]], [[4, 8], [4, 8]]], np.float32)
    mask = np.array([[[1, 1], [1, 0]], [[1, 0], [0, 0]]], bool)
    np.testing.assert_array_equal(episode_returns(rewards, mask), [7.0, 1.0])


def test_the_reward_filter_keeps_groups_within_both_bounds():
    # reward 5 for success, groups of two: mean returns 0, 2.5, 5
    returns = np.array([0.0, 0.0, 0.0, 5.0, 5.0, 5.0])
    expected = [False, False, True, True, False, False]
    np.testing.assert_array_equal(in_reward_bounds(returns, 2, 0.5, 4.5), expected)
    np.testing.assert_array_equal(in_reward_bounds(returns, 2, 0.0, 5.0), [True] * 6)


def test_normalisation_uses_the_unbiased_deviation_of_valid_entries():
    # valid 1, 3, 5: mean 3, unbiased std sqrt((4 + 0 + 4) / 2) = 2
    given = np.array([[1.0, 99.0], [3.0, 5.0]], np.float32)
    mask = np.array([[1, 0], [1, 1]], bool)
    result = normalize(given, mask, epsilon=0.0)
    np.testing.assert_array_equal(result, [[-1, 0], [0, 1]])


@pytest.mark.parametrize("valid", [0, 1])
def test_normalisation_of_no_or_one_entry_is_zero(valid):
    mask = np.zeros((2, 2), bool)
    mask.flat[:valid] = True
    np.testing.assert_array_equal(normalize(np.full((2, 2), 7.0), mask), np.zeros((2, 2)))


def settings(**changes) -> AdvantageSettings:
    given = {
        "adv_type": "grpo",
        "reward_type": "action",
        "gamma": 0.5,
        "gae_lambda": 0.5,
        "bootstrap": "truncated",
        "normalize_advantages": False,
        "group_size": 2,
        "filter_rewards": False,
        "rewards_lower_bound": 0.5,
        "rewards_upper_bound": 4.5,
        "length_normalization": False,
        "max_episode_steps": 4,
    }
    return AdvantageSettings(**(given | changes))


def trajectory(rewards, valid, terminated=None, values=None) -> Trajectory:
    """[T, B, C] lists; log-probs and actions play no role here."""
    valid = np.array(valid, bool)
    chunks, envs, _ = valid.shape
    values = np.zeros((chunks, envs, 0)) if values is None else np.array(values)
    return Trajectory(
        observations=[],
        rows=np.zeros((chunks, envs), np.int32),
        sampled=np.zeros((*valid.shape, 1)),
        logprobs=np.zeros((*valid.shape, 1), np.float32),
        values=values.astype(np.float32),
        rewards=np.array(rewards, np.float32),
        terminated=np.zeros_like(valid) if terminated is None else np.array(terminated, bool),
        truncated=np.zeros_like(valid),
        valid=valid,
        final_values=np.zeros((chunks, envs), np.float32),
        next_values=np.zeros(envs, np.float32),
    )


# Two envs, two chunks of two actions, one group. Env 0 succeeds at its third action, env 1 never.
SUCCESS = trajectory(
    rewards=[[[0, 0], [0, 0]], [[5, 0], [0, 0]]],
    valid=[[[1, 1], [1, 1]], [[1, 0], [1, 1]]],
    terminated=[[[0, 0], [0, 0]], [[1, 0], [0, 0]]],
)


def test_grpo_estimates_are_masked_after_the_end():
    result = estimate(SUCCESS, settings())
    # returns 5 and 0: mean 2.5, unbiased std 3.53553; +-2.5 / 3.53553 = +-0.70711
    a = pytest.approx(0.5**0.5, abs=1e-6)
    assert result.advantages[:, 0].reshape(-1).tolist() == [a, a, a, 0.0]
    assert (-result.advantages[:, 1]).reshape(-1).tolist() == [a, a, a, a]
    np.testing.assert_array_equal(result.mask, SUCCESS.valid)
    np.testing.assert_array_equal(result.weights, SUCCESS.valid)
    assert result.returns.shape == (2, 2, 0)


def test_length_normalisation_weights_episodes_alike():
    # L = 4: env 0 has three actions of weight 4/3, env 1 four of weight 1; both sum to 4.
    weights = estimate(SUCCESS, settings(length_normalization=True)).weights
    np.testing.assert_allclose(weights[:, 0], [[4 / 3, 4 / 3], [4 / 3, 0]], rtol=1e-6)
    np.testing.assert_array_equal(weights[:, 1], np.ones((2, 2)))


def test_filtered_groups_are_masked_and_nothing_becomes_nan():
    result = estimate(SUCCESS, settings(filter_rewards=True, rewards_lower_bound=3.0))
    assert not result.kept.any()
    assert not result.mask.any()
    for array in (result.advantages, result.weights):
        np.testing.assert_array_equal(array, np.zeros((2, 2, 2)))


def test_grpo_at_chunk_level_gives_one_advantage_per_chunk():
    result = estimate(SUCCESS, settings(reward_type="chunk"))
    assert result.advantages.shape == (2, 2, 1)
    assert np.all(result.advantages[:, 0] > 0)
    assert np.all(result.advantages[:, 1] < 0)


def test_critic_targets_are_advantages_before_normalisation_plus_values():
    # One env, chunks of two actions; gamma = lambda = 1/2; success at the third action.
    # A_2 = 5 - 2 = 3; A_1 = 0 + 0.5*2 - 2 + 0.25*3 = -0.25; A_0 = 0.5*2 - 4 + 0.25*-0.25 = -3.0625
    steps = trajectory(
        rewards=[[[0, 0]], [[5, 0]]],
        valid=[[[1, 1]], [[1, 0]]],
        terminated=[[[0, 0]], [[1, 0]]],
        values=[[[4, 2]], [[2, 77]]],
    )
    plain = estimate(steps, settings(adv_type="gae"))
    np.testing.assert_array_equal(plain.advantages, [[[-3.0625, -0.25]], [[3, 0]]])
    np.testing.assert_array_equal(plain.returns, [[[0.9375, 1.75]], [[5, 0]]])
    normalised = estimate(steps, settings(adv_type="gae", normalize_advantages=True))
    np.testing.assert_array_equal(normalised.returns, plain.returns)
    valid = normalised.advantages[steps.valid]
    assert valid.mean() == pytest.approx(0.0, abs=1e-6)
    assert valid.std(ddof=1) == pytest.approx(1.0, abs=1e-4)


def test_gae_at_chunk_level_discounts_per_chunk():
    # Chunk rewards 0 and 5, V = 4 and 2: A_1 = 5 - 2 = 3; A_0 = 0 + 0.5*2 - 4 + 0.25*3 = -2.25
    steps = trajectory(
        rewards=[[[0, 0]], [[5, 99]]],
        valid=[[[1, 1]], [[1, 0]]],
        terminated=[[[0, 0]], [[1, 0]]],
        values=[[[4]], [[2]]],
    )
    result = estimate(steps, settings(adv_type="gae", reward_type="chunk"))
    np.testing.assert_array_equal(result.advantages, [[[-2.25]], [[3]]])
    np.testing.assert_array_equal(result.returns, [[[1.75]], [[5]]])


def test_a_rollout_in_which_nothing_is_valid_gives_zeros():
    steps = trajectory(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)), values=np.full((2, 2, 2), 3.0))
    for changes in ({"adv_type": "gae", "normalize_advantages": True}, {"adv_type": "grpo"}):
        result = estimate(steps, settings(length_normalization=True, **changes))
        assert not result.advantages.any()
        assert not result.weights.any()
