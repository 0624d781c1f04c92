"""From the trajectories of an iteration to the samples it trains on. Runs in the launcher."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlinf.algorithms.estimators import ESTIMATORS, AdvantageSettings, estimate, rollout_metrics
from rlinf.config import derive
from rlinf.config.schema import Config
from rlinf.data.layout import concatenate, flatten
from rlinf.data.types import TrainBatch, Trajectory
from rlinf.logging.metrics import Metrics
from rlinf.logging.results import episode_metrics


def make_samples(
    trajectories: Sequence[Trajectory], config: Config
) -> tuple[TrainBatch, dict[str, float]]:
    """Advantages over all trajectories together, flattened to samples; and `rollout/`, `env/`.

    Statistics over everything at once keep the update independent of how many workers there are.
    """
    rollout = concatenate(trajectories)
    estimates = estimate(rollout.steps, advantage_settings(config))
    trained: np.ndarray = np.ones(estimates.mask.shape[:2], bool)
    if config.algorithm.policy_loss_alone:
        trained = np.any(estimates.advantages, axis=-1)
    batch = flatten(
        rollout,
        estimates.advantages,
        estimates.returns,
        estimates.mask,
        estimates.weights,
        trained=trained,
        planned=derive.samples(config),
    )
    metrics = Metrics.merge(
        [rollout_metrics(rollout.steps, estimates), episode_metrics(rollout.steps.episodes, "env")]
    )
    return batch, metrics.reduce()


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
