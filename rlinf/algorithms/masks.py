"""Which actions of a rollout count, and how much (NumPy, [T, B, C])."""

from __future__ import annotations

import numpy as np


def until_first_end(ended: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Valid actions of each env's first episode; the action that ends it is the last one.

    Args:
        ended: [T, B, C] bool, the episode ended at this action, for whatever reason.
        valid: [T, B, C] bool, the action was executed.

    Returns:
        [T, B, C] bool.
    """
    chunks, envs, actions = ended.shape
    in_time = np.moveaxis(ended, 1, 2).reshape(chunks * actions, envs)
    ends_before = np.cumsum(in_time, axis=0) - in_time
    first = (ends_before == 0).reshape(chunks, actions, envs)
    return valid & np.moveaxis(first, 2, 1)


def sound_episodes(rewards: np.ndarray, ended: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Valid actions of the episodes, or parts of episodes, whose rewards are all finite.

    Args:
        rewards: [T, B, C].
        ended: [T, B, C] bool, the episode ended at this action.
        valid: [T, B, C] bool, the action was executed.

    Returns:
        [T, B, C] bool; `valid` itself where all rewards are finite.
    """
    broken = valid & ~np.isfinite(rewards)
    sound = valid
    for env in np.flatnonzero(broken.any(axis=(0, 2))):
        ends = ended[:, env].reshape(-1)
        episode = np.cumsum(ends) - ends  # index of the episode of each action
        lost = np.isin(episode, episode[broken[:, env].reshape(-1)])
        if sound is valid:
            sound = valid.copy()
        sound[:, env] &= ~lost.reshape(sound[:, env].shape)
    return sound


def episode_lengths(valid: np.ndarray) -> np.ndarray:
    """T_i, the number of valid entries of each env: [T, B, K] bool -> [B] int64."""
    return valid.sum(axis=(0, 2))


def length_weights(valid: np.ndarray, longest: int) -> np.ndarray:
    """L / T_i on the valid entries of env i and 0 elsewhere: every episode weighs alike.

    For fixed episodes, one per env. Entries are actions or chunks (K is C or 1): lengths count what
    is weighted, else an episode whose last chunk is cut short would weigh more than others.

    Args:
        valid: [T, B, K] bool.
        longest: L, the number of entries of the longest episode there can be.

    Returns:
        [T, B, K] float32.
    """
    lengths = np.maximum(episode_lengths(valid), 1)
    return np.where(valid, longest / lengths[:, None], 0.0).astype(np.float32)


def at_reward_level(mask: np.ndarray, entries: int) -> np.ndarray:
    """Mask of C actions as a mask of K `entries`: itself, or at chunk level "any of them".

    Args:
        mask: [..., C] bool.
        entries: K, which is C or 1.
    """
    return mask if entries == mask.shape[-1] else np.any(mask, axis=-1, keepdims=True)
