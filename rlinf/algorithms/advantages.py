"""Advantages: how much better each action did than expected (NumPy; sums in float64).

T chunk steps, B envs, C actions per chunk. K is C where rewards, values and advantages belong to
single actions, and 1 where they belong to whole chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlinf.algorithms.masks import at_reward_level, length_weights, until_first_end
from rlinf.data.types import Trajectory
from rlinf.logging.metrics import Maximum, Mean, Metric, Metrics, Minimum, Total

Bootstrap = Literal["truncated", "always"]


@dataclass(frozen=True, slots=True)
class AdvantageSettings:
    """What `estimate` must know; the names are those of the configuration's `algorithm` section."""

    adv_type: Literal["gae", "grpo"]
    reward_type: Literal["action", "chunk"]
    gamma: float
    gae_lambda: float
    bootstrap: Bootstrap
    normalize_advantages: bool
    group_size: int  # G, consecutive envs with one start state
    filter_rewards: bool
    rewards_lower_bound: float
    rewards_upper_bound: float
    length_normalization: bool  # for fixed episodes only
    max_episode_steps: int  # L


@dataclass(frozen=True, slots=True)
class Estimates:
    """What training needs to know of each action of a rollout."""

    advantages: np.ndarray  # [T, B, K] float32; 0 where masked
    returns: np.ndarray  # [T, B, K] float32, what the critic is trained towards; [T, B, 0] for GRPO
    mask: np.ndarray  # [T, B, C] bool, actions that are trained on
    weights: np.ndarray  # [T, B, C] float32, weight in the loss; 0 where masked
    kept: np.ndarray  # [B] bool, envs whose group the reward filter kept


def estimate(steps: Trajectory, settings: AdvantageSettings) -> Estimates:
    """Advantages, critic targets, mask and weights of all envs of an iteration together.

    Statistics are taken over everything given, so give everything: then the update does not depend
    on how envs are split over workers and ranks.
    """
    estimator = _estimate_gae if settings.adv_type == "gae" else _estimate_grpo
    advantages, returns, mask, kept = estimator(steps, settings)
    if settings.length_normalization:
        weights = length_weights(mask, settings.max_episode_steps)
    else:
        weights = mask.astype(np.float32)
    return Estimates(advantages, returns, mask, weights, kept)


def rollout_metrics(steps: Trajectory, estimates: Estimates) -> Metrics:
    """Rewards over executed chunks; advantages and returns over the entries that are trained on."""
    mask = at_reward_level(estimates.mask, estimates.advantages.shape[-1])
    metrics: dict[str, Metric] = {
        "env/steps": Total(int(steps.valid.sum())),
        "rollout/rewards": Mean(
            float(np.where(steps.valid, steps.rewards, 0.0).sum(dtype=np.float64)),
            int(steps.valid.any(axis=-1).sum()),
        ),
        "rollout/filtered_groups": Mean(int((~estimates.kept).sum()), len(estimates.kept)),
        **_distribution("rollout/advantages", estimates.advantages[mask]),
    }
    if estimates.returns.size:
        metrics |= _distribution("rollout/returns", estimates.returns[mask])
    return Metrics(metrics)


def _distribution(name: str, chosen: np.ndarray) -> dict[str, Metric]:
    """Mean, largest and smallest of some numbers; nothing of none."""
    if not chosen.size:
        return {}
    return {
        f"{name}_mean": Mean(float(chosen.sum(dtype=np.float64)), chosen.size),
        f"{name}_max": Maximum(float(chosen.max())),
        f"{name}_min": Minimum(float(chosen.min())),
    }


def _estimate_gae(
    steps: Trajectory, settings: AdvantageSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    events = steps.rewards, steps.terminated, steps.truncated, steps.valid
    if settings.reward_type == "chunk":
        events = chunk_level(*events)
    rewards, terminated, truncated, valid = events
    advantages = gae(
        rewards,
        steps.values,
        steps.next_values,
        steps.final_values,
        terminated,
        truncated,
        valid,
        gamma=settings.gamma,
        gae_lambda=settings.gae_lambda,
        bootstrap=settings.bootstrap,
    )
    returns = np.where(valid, advantages + steps.values, np.float32(0))
    if settings.normalize_advantages:
        advantages = normalize(advantages, valid)
    return advantages, returns, steps.valid, np.ones(steps.valid.shape[1], bool)


def _estimate_grpo(
    steps: Trajectory, settings: AdvantageSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    mask = until_first_end(steps.terminated | steps.truncated, steps.valid)
    returns = episode_returns(steps.rewards, mask)
    kept = np.ones(len(returns), bool)
    if settings.filter_rewards:
        kept = in_reward_bounds(
            returns,
            settings.group_size,
            settings.rewards_lower_bound,
            settings.rewards_upper_bound,
        )
    mask = mask & kept[:, None]
    entries = 1 if settings.reward_type == "chunk" else mask.shape[-1]
    advantages = grpo(returns, settings.group_size)[:, None] * at_reward_level(mask, entries)
    no_critic = np.zeros((*mask.shape[:2], 0), np.float32)
    return advantages.astype(np.float32), no_critic, mask, kept


def gae(
    rewards: np.ndarray,
    values: np.ndarray,
    next_values: np.ndarray,
    final_values: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    valid: np.ndarray,
    *,
    gamma: float,
    gae_lambda: float,
    bootstrap: Bootstrap,
) -> np.ndarray:
    """Generalised advantage estimation (Schulman et al. 2016, eq. 16), before normalisation.

    Over the valid actions of an env, in time order::

        delta_t = r_t + gamma * V_next_t - V_t
        A_t     = delta_t + gamma * lambda * A_{t+1}       # A_{t+1} = 0 where the episode ends

    V_next_t is the value of the next valid action, which may be in the next chunk or be
    `next_values`. Where the episode ends it is 0, or V(final observation) where `bootstrap` says.

    Args:
        rewards: [T, B, K], as the simulator gave them.
        values: [T, B, K], V before each action.
        next_values: [B], V after the last chunk, of episodes that go on.
        final_values: [T, B], V of the last observation of an episode that ends in chunk t.
        terminated: [T, B, K] bool, the task itself ended at this action.
        truncated: [T, B, K] bool, only the clock ran out.
        valid: [T, B, K] bool; other entries are skipped and get advantage 0.
        bootstrap: ends that add V(final observation): "truncated" ones, or "always".

    Returns:
        [T, B, K] float32. Critic targets are these plus `values`.
    """
    assert rewards.shape == values.shape == valid.shape, (rewards.shape, values.shape, valid.shape)
    chunks, envs, actions = rewards.shape
    bootstrapped = (terminated | truncated) if bootstrap == "always" else truncated & ~terminated
    advantages = np.zeros((chunks, envs, actions))
    value_after = next_values.astype(np.float64)
    advantage_after = np.zeros(envs)
    for t in reversed(range(chunks)):
        for i in reversed(range(actions)):
            here, counts = (t, slice(None), i), valid[t, :, i]
            ended = terminated[here] | truncated[here]
            at_end = np.where(bootstrapped[here], final_values[t], 0.0)
            delta = rewards[here] + gamma * np.where(ended, at_end, value_after) - values[here]
            advantage = delta + gamma * gae_lambda * np.where(ended, 0.0, advantage_after)
            advantages[here] = np.where(counts, advantage, 0.0)
            value_after = np.where(counts, values[here], value_after)
            advantage_after = np.where(counts, advantage, advantage_after)
    return advantages.astype(np.float32)


def chunk_level(
    rewards: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, valid: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Chunks as single long actions: rewards summed over the valid ones, "any" of the flags.

    [T, B, C] each -> [T, B, 1] each. Gamma then counts per chunk.
    """
    summed = np.where(valid, rewards, 0.0).sum(axis=-1, keepdims=True)
    return (
        summed,
        at_reward_level(terminated, 1),
        at_reward_level(truncated, 1),
        at_reward_level(valid, 1),
    )


def episode_returns(rewards: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """R_b, the undiscounted sum of the masked rewards of each env: [T, B, C] -> [B] float64."""
    return np.where(mask, rewards, 0.0).sum(axis=(0, 2), dtype=np.float64)


def grpo(returns: np.ndarray, group_size: int, epsilon: float = 1e-6) -> np.ndarray:
    """Each env's return against its group of G consecutive envs (Shao et al. 2024, sec. 4.1.2).

    A_b = (R_b - mean_g R) / (std_g R + epsilon), with the unbiased standard deviation. A group of
    equal returns teaches nothing and gets exactly 0.

    Args:
        returns: [B], B a multiple of G.
        group_size: G, at least 2: a group of one has no standard deviation.

    Returns:
        [B] float64.
    """
    assert group_size >= 2 and len(returns) % group_size == 0, (len(returns), group_size)
    groups = returns.reshape(-1, group_size)
    centred = groups - groups.mean(axis=1, keepdims=True)
    spread = groups.std(axis=1, ddof=1, keepdims=True)
    differ = np.ptp(groups, axis=1, keepdims=True) > 0  # the mean of equal numbers may be rounded
    return np.where(differ, centred / (spread + epsilon), 0.0).reshape(-1)


def in_reward_bounds(
    returns: np.ndarray, group_size: int, lower: float, upper: float
) -> np.ndarray:
    """Envs whose group's mean return lies in [lower, upper]: [B] -> [B] bool."""
    means = returns.reshape(-1, group_size).mean(axis=1)
    return np.repeat((lower <= means) & (means <= upper), group_size)


def normalize(advantages: np.ndarray, mask: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    """Masked entries with mean 0 and (unbiased) standard deviation 1; 0 elsewhere.

    A single entry becomes 0, and no entry at all is fine. Shapes are equal; returns float32.
    """
    chosen = advantages[mask].astype(np.float64)
    result = np.zeros(advantages.shape, np.float32)
    if chosen.size > 1:
        result[mask] = (chosen - chosen.mean()) / (chosen.std(ddof=1) + epsilon)
    return result
