"""What a rollout becomes with each advantage estimator, on trajectories worked out by hand."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from rlinf.algorithms.estimators import (
    ESTIMATORS,
    AdvantageSettings,
    estimate,
    groups_kept,
    rollout_metrics,
)
from rlinf.config.schema import AlgorithmConfig
from rlinf.data.types import Trajectory


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
        "wanted_groups": 99,
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
        observation=None,
        rows=np.zeros((chunks, envs), np.int32),
        sampled={"tokens": np.zeros((*valid.shape, 1))},
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
    result = estimate(SUCCESS, settings(normalize_advantages=True))
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


def test_length_normalisation_weights_episodes_alike_at_chunk_level_too():
    # Chunks of two actions, L = 4 or two chunks. Env 0 has three actions and two chunks, so both
    # weigh 1, as those of env 1; counted in actions they would weigh 4/3 each.
    weights = estimate(SUCCESS, settings(length_normalization=True)).chunk_weights
    np.testing.assert_array_equal(weights, np.ones((2, 2, 1)))
    # Where env 1 ends with its first action its one chunk weighs 2.
    early = trajectory(
        rewards=np.zeros((2, 2, 2)),
        valid=[[[1, 1], [1, 0]], [[1, 0], [0, 0]]],
        terminated=[[[0, 0], [1, 0]], [[1, 0], [0, 0]]],
    )
    weights = estimate(early, settings(length_normalization=True)).chunk_weights
    assert weights[..., 0].tolist() == [[1, 2], [1, 0]]
    plain = estimate(early, settings()).chunk_weights
    assert plain[..., 0].tolist() == [[1, 1], [1, 0]]


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


def test_every_name_of_the_configuration_has_an_estimator():
    assert set(ESTIMATORS) == set(get_args(AlgorithmConfig.model_fields["adv_type"].annotation))


def test_grpo_without_normalisation_does_not_divide_by_the_deviation():
    result = estimate(SUCCESS, settings(normalize_advantages=False))
    assert result.advantages[0, :, 0].tolist() == [2.5, -2.5]


def test_rloo_compares_whole_episodes():
    # returns 5 and 0, each against the other
    result = estimate(SUCCESS, settings(adv_type="rloo", normalize_advantages=False))
    assert result.advantages[:, 0].reshape(-1).tolist() == [5, 5, 5, 0]
    assert result.advantages[:, 1].reshape(-1).tolist() == [-5, -5, -5, -5]


def test_reinforce_plus_plus_normalises_discounted_returns_over_the_batch():
    # gamma 1/2: env 0 gets 5/4, 5/2, 5 for its three actions, env 1 gets 0 four times.
    plain = estimate(SUCCESS, settings(adv_type="reinforce_plus_plus", normalize_advantages=False))
    assert plain.advantages[:, 0].reshape(-1).tolist() == [1.25, 2.5, 5, 0]
    # over the seven entries: mean 8.75 / 7 = 1.25; squares 0 + 1.25^2 + 3.75^2 + 4 * 1.25^2
    # = 21.875; unbiased std sqrt(21.875 / 6) = 1.909407
    result = estimate(SUCCESS, settings(adv_type="reinforce_plus_plus", normalize_advantages=True))
    expected = (np.array([1.25, 2.5, 5]) - 1.25) / (1.909407 + 1e-5)
    np.testing.assert_allclose(result.advantages[:, 0].reshape(-1)[:3], expected, rtol=1e-6)
    np.testing.assert_allclose(result.advantages[:, 1], -1.25 / 1.909417, rtol=1e-6)
    assert result.advantages[1, 0, 1] == 0  # not executed


def test_reinforce_plus_plus_with_a_baseline_normalises_differences_over_the_batch():
    # differences 2.5 on three entries and -2.5 on four: mean -2.5 / 7;
    # squares 3 * (2.857143)^2 + 4 * (2.142857)^2 = 42.857143; std sqrt(42.857143 / 6) = 2.672612
    changes = {"adv_type": "reinforce_plus_plus_baseline", "normalize_advantages": True}
    result = estimate(SUCCESS, settings(**changes))
    np.testing.assert_allclose(result.advantages[0, 0], 2.857143 / 2.672622, rtol=1e-5)
    np.testing.assert_allclose(result.advantages[0, 1], -2.142857 / 2.672622, rtol=1e-5)


@pytest.mark.parametrize("adv_type", sorted(set(ESTIMATORS) - {"gae"}))
def test_equal_episodes_teach_nothing_and_are_counted(adv_type):
    same = trajectory(np.zeros((2, 2, 2)), np.ones((2, 2, 2)))
    estimates = estimate(same, settings(adv_type=adv_type, normalize_advantages=True))
    assert not estimates.advantages.any() and estimates.mask.all()
    metrics = rollout_metrics(same, estimates).reduce()
    assert metrics.get("rollout/equal_groups") == (1 if ESTIMATORS[adv_type].groups else None)


def four_groups() -> Trajectory:
    """Eight envs of one action; returns of the groups 0 0, 1 0, 1 1, 0 1."""
    rewards = np.array([0, 0, 1, 0, 1, 1, 0, 1], np.float32).reshape(1, 8, 1)
    return trajectory(rewards, np.ones((1, 8, 1)))


def test_groups_beyond_those_wanted_are_left_out_last_ones_first():
    bounds = {"filter_rewards": True, "rewards_lower_bound": 0.1, "rewards_upper_bound": 0.9}
    chosen = settings(**bounds, wanted_groups=1)
    assert groups_kept(four_groups(), chosen) == 2
    result = estimate(four_groups(), chosen)
    assert result.mask[0, :, 0].tolist() == [False, False, True, True, False, False, False, False]
    assert result.kept.tolist() == [False, False, True, True, False, False, True, True]
    both = estimate(four_groups(), settings(**bounds, wanted_groups=2))
    assert both.mask[0, :, 0].tolist() == both.kept.tolist()
