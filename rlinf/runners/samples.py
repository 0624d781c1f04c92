"""The trajectories of an iteration, and the samples they become. Runs in the launcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Protocol

import numpy as np

from rlinf.algorithms.estimators import (
    ESTIMATORS,
    AdvantageSettings,
    estimate,
    groups_kept,
    rollout_metrics,
)
from rlinf.algorithms.masks import sound_episodes
from rlinf.config import derive
from rlinf.config.schema import Config
from rlinf.data.layout import by_epoch, concatenate, flatten
from rlinf.data.types import TrainBatch, Trajectory
from rlinf.metrics.results import episode_metrics
from rlinf.metrics.types import Metric, Metrics, Total


class EnvWorkers(Protocol):
    """The env workers; see `Workers`."""

    def collect(
        self, step: int, epochs: range, shares: np.ndarray | None
    ) -> tuple[list[Trajectory], Metrics]:
        """The trajectories of the rollout epochs `epochs`, stage by stage, and what went wrong."""


def collect_trajectories(
    workers: EnvWorkers, step: int, config: Config, shares: np.ndarray | None = None
) -> tuple[list[Trajectory], Metrics]:
    """The trajectories of iteration `step`; groups that the filter leaves out are replaced.

    Dynamic sampling (Yu et al. 2025, DAPO, eq. 11): all sub-envs roll out once more, from new
    starts, until there are as many groups as planned, at most `algorithm.max_refills` times.

    Args:
        shares: [tasks], how likely each task is; None: all alike.
    """
    planned, settings = config.algorithm.rollout_epoch, advantage_settings(config)
    trajectories, faults = workers.collect(step, range(planned), shares)
    trajectories = by_epoch(trajectories, planned)
    for extra in range(planned, planned + config.algorithm.max_refills):
        kept = sum(groups_kept(trajectory, settings) for trajectory in trajectories)
        if kept >= settings.wanted_groups:
            break
        more, its_faults = workers.collect(step, range(extra, extra + 1), shares)
        trajectories, faults = trajectories + more, Metrics.merge([faults, its_faults])
    return trajectories, faults


def make_samples(
    trajectories: Sequence[Trajectory], config: Config
) -> tuple[TrainBatch, dict[str, float]]:
    """Advantages over all trajectories together, flattened to samples; and `rollout/`, `env/`.

    Statistics over everything at once keep the update independent of how many workers there are.
    Episodes with a reward that is not finite count nowhere but in `faults/bad_rewards`, and those
    that a simulator had to give up nowhere but in `faults/dropped_episodes`.
    """
    rollout = concatenate(trajectories)
    steps = _sound(rollout.steps)
    estimates = estimate(steps, advantage_settings(config))
    trained: np.ndarray = np.ones(estimates.mask.shape[:2], bool)
    if config.algorithm.policy_loss_alone:
        trained = np.any(estimates.advantages, axis=-1)
    batch = flatten(
        rollout,
        estimates.advantages,
        estimates.returns,
        estimates.mask,
        estimates.weights,
        estimates.chunk_weights,
        trained=trained,
        planned=derive.samples(config),
    )
    lost = [e for e in rollout.steps.episodes if not isfinite(e.episode_return)]
    dropped = sum(episode.dropped for episode in lost)
    rollouts = steps.valid.shape[1] // config.env.train.total_num_envs
    counts: dict[str, Metric] = {
        "faults/bad_rewards": Total(len(lost) - dropped),
        "faults/dropped_episodes": Total(dropped),
    }
    if config.algorithm.max_refills:
        counts["rollout/refills"] = Total(rollouts - config.algorithm.rollout_epoch)
    metrics = Metrics.merge(
        [rollout_metrics(steps, estimates), episode_metrics(steps.episodes, "env"), counts]
    )
    return batch, metrics.reduce()


def _sound(steps: Trajectory) -> Trajectory:
    """The same without what belongs to episodes with a reward that is not finite."""
    valid = sound_episodes(steps.rewards, steps.terminated | steps.truncated, steps.valid)
    episodes = tuple(e for e in steps.episodes if isfinite(e.episode_return))
    return replace(steps, valid=valid, episodes=episodes)


def advantage_settings(config: Config) -> AdvantageSettings:
    """The part of the configuration that advantages depend on."""
    algorithm, env = config.algorithm, config.env.train
    lengths, normalize = algorithm.length_normalization, algorithm.normalize_advantages
    published = ESTIMATORS[algorithm.adv_type].normalizes
    return AdvantageSettings(
        adv_type=algorithm.adv_type,
        reward_type=algorithm.reward_type,
        gamma=algorithm.gamma,
        gae_lambda=algorithm.gae_lambda,
        bootstrap=algorithm.bootstrap,
        normalize_advantages=published if normalize is None else normalize,
        group_size=env.group_size,
        filter_rewards=algorithm.filter_rewards,
        rewards_lower_bound=algorithm.rewards_lower_bound,
        rewards_upper_bound=algorithm.rewards_upper_bound,
        wanted_groups=algorithm.rollout_epoch * env.total_num_envs // env.group_size,
        length_normalization=not env.auto_reset if lengths is None else lengths,
        max_episode_steps=env.max_episode_steps,
    )
