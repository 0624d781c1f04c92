"""From the configuration of an environment to a batch of envs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rlinf.config import pythons
from rlinf.config.schema import EnvConfig
from rlinf.envs.base import Simulator
from rlinf.envs.episode import EnvBatch, EpisodeBatch, EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.registry import Hosting, imported, simulator


def make_simulator(config: EnvConfig, num_envs: int) -> Simulator:
    """B envs in this process, without episodes."""
    build = imported(simulator(config.simulator_type).build)
    made: Simulator = build(num_envs, **config.init_params.model_dump(mode="json"))
    return made


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
    if processes == 0:
        return EpisodeBatch(make_simulator(config, num_envs), rules)
    return ProcessBatch(
        simulator(config.simulator_type).build,
        config.init_params.model_dump(mode="json"),
        num_envs,
        rules,
        processes,
        log_file,
        step_timeout_s=config.step_timeout_s,
        retries=retries,
        hosting=hosting(config),
    )


def hosting(config: EnvConfig) -> Hosting:
    """How the sub-processes of an environment are started, and under which Python."""
    return pythons.hosting(simulator(config.simulator_type), config.python)
