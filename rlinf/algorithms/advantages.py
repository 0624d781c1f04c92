"""Advantages: how much better each action did than expected (NumPy; sums in float64).

Formulas only; `estimators.py` says which of them a configuration means. T chunk steps, B envs,
C actions per chunk, G group size. K is C where rewards, values and advantages belong to single
actions, and 1 where they belong to whole chunks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from rlinf.algorithms.masks import at_reward_level

Bootstrap = Literal["truncated", "always"]


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


def rewards_to_go(rewards: np.ndarray, valid: np.ndarray, gamma: float) -> np.ndarray:
    """G_t = r_t + gamma * G_{t+1} over the valid entries of one episode per env.

    Williams 1992 (REINFORCE); it is REINFORCE++'s return (Hu et al. 2025) where rewards come at
    every step. [T, B, K] both -> [T, B, K] float64, 0 where not valid.
    """
    chunks, envs, entries = rewards.shape
    result = np.zeros((chunks, envs, entries))
    after = np.zeros(envs)
    for t in reversed(range(chunks)):
        for i in reversed(range(entries)):
            counts = valid[t, :, i]
            after = np.where(counts, rewards[t, :, i] + gamma * after, after)
            result[t, :, i] = np.where(counts, after, 0.0)
    return result


class _Groups:
    """Returns of groups of G consecutive envs, of which only some count."""

    def __init__(self, returns: np.ndarray, counted: np.ndarray, group_size: int) -> None:
        assert len(returns) % group_size == 0, (len(returns), group_size)
        self.returns, self.counted = (x.reshape(-1, group_size) for x in (returns, counted))
        self.size = self.counted.sum(axis=1, keepdims=True)  # [B / G, 1], envs that count
        summed = np.where(self.counted, self.returns, 0.0).sum(axis=1, keepdims=True)
        self.mean = summed / np.maximum(self.size, 1)

    def centred(self) -> np.ndarray:
        """R_b - mean_g R: [B / G, G]; exactly 0 in a group of equal returns, or of one."""
        # The mean of equal numbers may be rounded, and its difference to them then is not 0.
        return np.where(self.counted & self.differ(), self.returns - self.mean, 0.0)

    def differ(self) -> np.ndarray:
        """Groups whose returns are not all equal: [B / G, 1] bool."""
        high = np.where(self.counted, self.returns, -np.inf).max(axis=1, keepdims=True)
        low = np.where(self.counted, self.returns, np.inf).min(axis=1, keepdims=True)
        return high > low


def grpo(
    returns: np.ndarray,
    counted: np.ndarray,
    group_size: int,
    *,
    by_deviation: bool = True,
    epsilon: float = 1e-6,
) -> np.ndarray:
    """Each env's return against its group of G consecutive envs (Shao et al. 2024, sec. 4.1.2).

    A_b = (R_b - mean_g R) / (std_g R + epsilon), with the unbiased standard deviation. A group of
    equal returns teaches nothing and gets exactly 0.

    Args:
        returns: [B], B a multiple of G.
        counted: [B] bool, envs that belong to their group; the others get 0.
        group_size: G, at least 2: a group of one has no standard deviation.
        by_deviation: False leaves the division out (Liu et al. 2025, Dr. GRPO, eq. 3).

    Returns:
        [B] float64.
    """
    assert group_size >= 2, group_size
    groups = _Groups(returns, counted, group_size)
    centred = groups.centred()
    if not by_deviation:
        return centred.reshape(-1)
    squares = np.square(centred).sum(axis=1, keepdims=True)
    spread = np.sqrt(squares / np.maximum(groups.size - 1, 1))
    return (centred / (spread + epsilon)).reshape(-1)


def rloo(returns: np.ndarray, counted: np.ndarray, group_size: int) -> np.ndarray:
    """Each env's return against the mean of the others of its group (Ahmadian et al. 2024, eq. 8).

    A_b = R_b - 1 / (n - 1) * sum_{j != b} R_j = n / (n - 1) * (R_b - mean_g R), n envs that count.
    Shapes as for `grpo`.
    """
    assert group_size >= 2, group_size
    groups = _Groups(returns, counted, group_size)
    others = np.maximum(groups.size - 1, 1)
    return (groups.centred() * groups.size / others).reshape(-1)


def group_baseline(returns: np.ndarray, counted: np.ndarray, group_size: int) -> np.ndarray:
    """R_b - mean_g R, to be normalised over the batch (Hu et al. 2025, REINFORCE++-baseline).

    Shapes as for `grpo`.
    """
    return _Groups(returns, counted, group_size).centred().reshape(-1)


def equal_groups(returns: np.ndarray, counted: np.ndarray, group_size: int) -> np.ndarray:
    """Groups that teach nothing, as all returns are equal: [B] -> [B / G] bool."""
    return ~_Groups(returns, counted, group_size).differ()[:, 0]


def in_reward_bounds(
    returns: np.ndarray, counted: np.ndarray, group_size: int, lower: float, upper: float
) -> np.ndarray:
    """Envs whose group's mean return lies in [lower, upper]: [B] -> [B] bool.

    A group of which no env counts is out of bounds.
    """
    groups = _Groups(returns, counted, group_size)
    means = groups.mean[:, 0]
    inside = (lower <= means) & (means <= upper) & (groups.size[:, 0] > 0)
    return np.repeat(inside, group_size)


def normalize(advantages: np.ndarray, mask: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    """Masked entries with mean 0 and (unbiased) standard deviation 1; 0 elsewhere.

    Equal entries, or a single one, become exactly 0; no entry at all is fine. Shapes are equal;
    returns float32.
    """
    chosen = advantages[mask].astype(np.float64)
    result = np.zeros(advantages.shape, np.float32)
    if chosen.size > 1 and np.ptp(chosen) != 0:
        result[mask] = (chosen - chosen.mean()) / (chosen.std(ddof=1) + epsilon)
    return result
