"""Step limits of episodes that are left to the simulator, such as those of LIBERO's protocols."""

from __future__ import annotations

from contextlib import suppress

from omegaconf import DictConfig, OmegaConf
from pydantic import ValidationError

from rlinf.config.schema import Config
from rlinf.config.simulator import SimulatorParams
from rlinf.registry import imported, simulators


def fill_in(config: DictConfig) -> None:
    """Fills in the step limits that are left to the simulator, see `EnvConfig.max_episode_steps`.

    Settings that are wrong leave it as it is, and are reported later.
    """
    known = simulators()
    for part in ("train", "eval"):
        env = OmegaConf.select(config, f"env.{part}")
        if not OmegaConf.is_dict(env) or "max_episode_steps" not in env:
            continue
        if env.max_episode_steps is not None or env.get("simulator_type") not in known:
            continue
        params: type[SimulatorParams] = imported(known[env.simulator_type].settings)
        with suppress(ValidationError):
            given = OmegaConf.to_container(env.init_params, resolve=True)
            limits = params.model_validate(given).episode_steps()
            env.max_episode_steps = max(limits, default=None)


def notes(config: Config) -> list[str]:
    """Where an episode has two limits, and which of them counts."""
    found = []
    train = () if config.runner.only_eval else (("train", config.env.train),)
    for part, env in (*train, ("eval", config.env.eval)):
        longest = max(env.init_params.episode_steps(), default=env.max_episode_steps)
        if env.max_episode_steps != longest:
            which = "shorter" if env.max_episode_steps < longest else "longer"
            found.append(
                f"env.{part}.max_episode_steps = {env.max_episode_steps} is {which} than the "
                f"{longest} steps of env.{part}.init_params; the smaller counts, null takes those"
            )
    return found
