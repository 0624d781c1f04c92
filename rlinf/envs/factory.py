"""From the configuration of an environment to a batch of envs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from rlinf.config.schema import EnvConfig
from rlinf.envs.base import Simulator
from rlinf.envs.episode import EnvBatch, EpisodeBatch, EpisodeRules
from rlinf.envs.vector import ProcessBatch
from rlinf.registry import SHARED_MODULES, SIMULATORS, imported


def make_simulator(config: EnvConfig, num_envs: int) -> Simulator:
    """B envs in this process, without episodes."""
    _, build = SIMULATORS[config.simulator_type]
    simulator: Simulator = imported(build)(num_envs, config.init_params)
    return simulator


def make_batch(
    config: EnvConfig,
    num_envs: int,
    env_offset: int,
    final: Literal["none", "truncated", "always"],
    processes: int,
    log_file: Path,
    retries: int = 0,
) -> EnvBatch:
    """B envs and their episodes.

    Args:
        config: what they are.
        num_envs: B.
        env_offset: global index of the first.
        final: ended episodes whose last observation is needed, see `EpisodeRules`.
        processes: sub-processes the envs are spread over; 0 keeps them in this process.
        log_file: for what the sub-processes print.
        retries: how often in a row a sub-process that failed is replaced.
    """
    rules = EpisodeRules(
        max_episode_steps=config.max_episode_steps,
        task_steps=config.init_params.episode_steps(),
        ignore_terminations=config.ignore_terminations,
        reward_coef=config.reward_coef,
        use_rel_reward=config.use_rel_reward,
        final=final,
        env_offset=env_offset,
    )
    make = partial(make_simulator, config)
    if processes == 0:
        return EpisodeBatch(make(num_envs), rules)
    return ProcessBatch(
        make,
        num_envs,
        rules,
        processes,
        log_file,
        step_timeout_s=config.step_timeout_s,
        retries=retries,
        modules=shared_modules(config),
    )


def shared_modules(config: EnvConfig) -> Sequence[str]:
    """What the sub-processes of an environment import once for all of them."""
    return SHARED_MODULES.get(config.simulator_type, ())
