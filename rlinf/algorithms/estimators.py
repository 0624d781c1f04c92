"""Advantage estimators by name, and what a rollout becomes with one.

T chunk steps, B envs, C actions per chunk; K is C or 1, see `advantages.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlinf.algorithms import advantages as formulas
from rlinf.algorithms.advantages import Bootstrap
from rlinf.algorithms.masks import at_reward_level, length_weights, until_first_end
from rlinf.data.types import Trajectory
from rlinf.metrics.types import Maximum, Mean, Metric, Metrics, Minimum, Total


@dataclass(frozen=True, slots=True)
class AdvantageSettings:
    """What `estimate` must know; the names are those of the configuration's `algorithm` section."""

    adv_type: str  # a key of ESTIMATORS
    reward_type: str  # "action" or "chunk"
    gamma: float
    gae_lambda: float
    bootstrap: Bootstrap
    normalize_advantages: bool
    group_size: int  # G, consecutive envs with one start state
    filter_rewards: bool
    rewards_lower_bound: float
    rewards_upper_bound: float
    wanted_groups: int  # most groups that are trained on; there are more after a refill
    length_normalization: bool  # for fixed episodes only
    max_episode_steps: int  # L


@dataclass(frozen=True, slots=True)
class Estimates:
    """What training needs to know of each action of a rollout."""

    advantages: np.ndarray  # [T, B, K] float32; 0 where masked
    returns: np.ndarray  # [T, B, K] float32, what the critic is trained towards; [T, B, 0] without
    mask: np.ndarray  # [T, B, C] bool, actions that are trained on
    weights: np.ndarray  # [T, B, C] float32, weight of an action in the loss; 0 where masked
    chunk_weights: np.ndarray  # [T, B, 1] float32, the same of chunks, where they are the entries
    kept: np.ndarray  # [B] bool, envs whose group the reward filter kept
    equal: np.ndarray  # [B / G] bool, groups whose returns are all equal; [0] without groups


class Estimator(NamedTuple):
    """One way to compute advantages, and what it needs."""

    title: str  # what a reader calls the method
    advantages: Callable[[Trajectory, np.ndarray, AdvantageSettings], np.ndarray]
    """(steps, mask [T, B, C], settings) -> [T, B, K] float64, 0 where masked, not normalised over
    the batch."""
    critic: bool = False  # needs values; else it needs whole episodes, one per env
    groups: bool = False  # compares the envs of a group
    batch_norm: bool = False  # `normalize_advantages` is over all entries, not inside the formula
    normalizes: bool = True  # what `normalize_advantages: null` means


def estimate(steps: Trajectory, settings: AdvantageSettings) -> Estimates:
    """Advantages, critic targets, mask and weights of all envs of an iteration together.

    Statistics are taken over everything given, so give everything: then the update does not depend
    on how envs are split over workers and ranks.
    """
    estimator = ESTIMATORS[settings.adv_type]
    mask, kept, equal = _select(steps, settings, estimator)
    advantages = estimator.advantages(steps, mask, settings)
    at_level = at_reward_level(mask, advantages.shape[-1])
    if estimator.critic:
        returns = np.where(at_level, advantages + steps.values, 0.0).astype(np.float32)
    else:
        returns = np.zeros((*mask.shape[:2], 0), np.float32)
    if estimator.batch_norm and settings.normalize_advantages:
        advantages = formulas.normalize(advantages, at_level)
    weights, chunk_weights = (_weights(mask, entries, settings) for entries in (mask.shape[-1], 1))
    return Estimates(
        advantages.astype(np.float32), returns, mask, weights, chunk_weights, kept, equal
    )


def _weights(mask: np.ndarray, entries: int, settings: AdvantageSettings) -> np.ndarray:
    """Weight in the loss of actions ([T, B, C]), or of chunks ([T, B, 1]): float32."""
    counted = at_reward_level(mask, entries)
    if not settings.length_normalization:
        return counted.astype(np.float32)
    actions_per_entry = mask.shape[-1] // entries
    return length_weights(counted, -(-settings.max_episode_steps // actions_per_entry))


def groups_kept(steps: Trajectory, settings: AdvantageSettings) -> int:
    """Number of groups that the reward filter keeps. It looks at each group alone."""
    _, kept, _ = _select(steps, settings, ESTIMATORS[settings.adv_type])
    return int(kept[:: settings.group_size].sum())


def rollout_metrics(steps: Trajectory, estimates: Estimates) -> Metrics:
    """Rewards over executed chunks; advantages and returns over the entries that are trained on."""
    mask = at_reward_level(estimates.mask, estimates.advantages.shape[-1])
    metrics: dict[str, Metric] = {
        "env/steps": Total(int(steps.valid.sum())),
        "rollout/rewards": Mean(
            float(np.where(steps.valid, steps.rewards, 0.0).sum(dtype=np.float64)),
            int(steps.valid.any(axis=-1).sum()),
        ),
        **_distribution("rollout/advantages", estimates.advantages[mask]),
    }
    if estimates.equal.size:
        metrics["rollout/filtered_groups"] = Mean(int((~estimates.kept).sum()), len(estimates.kept))
        metrics["rollout/equal_groups"] = Mean(int(estimates.equal.sum()), estimates.equal.size)
    if estimates.returns.size:
        metrics |= _distribution("rollout/returns", estimates.returns[mask])
    return Metrics(metrics)


def _select(
    steps: Trajectory, settings: AdvantageSettings, estimator: Estimator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask [T, B, C], envs the filter kept [B], groups of equal returns [B / G] or [0]."""
    mask, kept = steps.valid, np.ones(steps.valid.shape[1], bool)
    if not estimator.critic:
        mask = until_first_end(steps.terminated | steps.truncated, steps.valid)
    if not estimator.groups:
        return mask, kept, np.zeros(0, bool)
    returns, counted = _returns(steps, mask)
    equal = formulas.equal_groups(returns, counted, settings.group_size)
    if settings.filter_rewards:
        kept = formulas.in_reward_bounds(
            returns,
            counted,
            settings.group_size,
            settings.rewards_lower_bound,
            settings.rewards_upper_bound,
        )
    wanted = np.cumsum(kept) <= settings.wanted_groups * settings.group_size
    return mask & (kept & wanted)[:, None], kept, equal


def _returns(steps: Trajectory, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of each env's episode, and whether it has one that counts: [B] both."""
    return formulas.episode_returns(steps.rewards, mask), np.any(mask, axis=(0, 2))


def _gae(steps: Trajectory, mask: np.ndarray, settings: AdvantageSettings) -> np.ndarray:
    rewards, terminated, truncated, valid = _events(steps, mask, settings)
    return formulas.gae(
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


def _grpo(steps: Trajectory, mask: np.ndarray, settings: AdvantageSettings) -> np.ndarray:
    by_deviation = settings.normalize_advantages
    per_env = formulas.grpo(*_returns(steps, mask), settings.group_size, by_deviation=by_deviation)
    return _spread(per_env, mask, settings)


def _rloo(steps: Trajectory, mask: np.ndarray, settings: AdvantageSettings) -> np.ndarray:
    return _spread(formulas.rloo(*_returns(steps, mask), settings.group_size), mask, settings)


def _reinforce_plus_plus(
    steps: Trajectory, mask: np.ndarray, settings: AdvantageSettings
) -> np.ndarray:
    rewards, _, _, valid = _events(steps, mask, settings)
    return formulas.rewards_to_go(rewards, valid, settings.gamma)


def _reinforce_plus_plus_baseline(
    steps: Trajectory, mask: np.ndarray, settings: AdvantageSettings
) -> np.ndarray:
    per_env = formulas.group_baseline(*_returns(steps, mask), settings.group_size)
    return _spread(per_env, mask, settings)


def _events(
    steps: Trajectory, mask: np.ndarray, settings: AdvantageSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rewards, terminated, truncated and mask at the level of rewards: [T, B, K] each."""
    events = steps.rewards, steps.terminated, steps.truncated, mask
    return formulas.chunk_level(*events) if settings.reward_type == "chunk" else events


def _spread(per_env: np.ndarray, mask: np.ndarray, settings: AdvantageSettings) -> np.ndarray:
    """One advantage per episode ([B]) on each of its entries: [T, B, K]."""
    entries = 1 if settings.reward_type == "chunk" else mask.shape[-1]
    return per_env[:, None] * at_reward_level(mask, entries)


def _distribution(name: str, chosen: np.ndarray) -> dict[str, Metric]:
    """Mean, largest and smallest of some numbers; nothing of none."""
    if not chosen.size:
        return {}
    return {
        f"{name}_mean": Mean(float(chosen.sum(dtype=np.float64)), chosen.size),
        f"{name}_max": Maximum(float(chosen.max())),
        f"{name}_min": Minimum(float(chosen.min())),
    }


ESTIMATORS: Mapping[str, Estimator] = {
    "gae": Estimator("PPO", _gae, critic=True, batch_norm=True),
    "grpo": Estimator("GRPO", _grpo, groups=True),
    "rloo": Estimator("RLOO", _rloo, groups=True, batch_norm=True, normalizes=False),
    "reinforce_plus_plus": Estimator("REINFORCE++", _reinforce_plus_plus, batch_norm=True),
    "reinforce_plus_plus_baseline": Estimator(
        "REINFORCE++-baseline", _reinforce_plus_plus_baseline, groups=True, batch_norm=True
    ),
}
"""`algorithm.adv_type` -> how advantages are computed."""
