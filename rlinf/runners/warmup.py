"""The start weights of a run: given ones, or a warm-up by imitation, which is cached."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import torch

from rlinf import __version__
from rlinf.config.derive import Plan
from rlinf.config.schema import Config, ImitationConfig
from rlinf.errors import UserError
from rlinf.imitation.collect import collect
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.imitation.fit import fit
from rlinf.models.base import ImitablePolicy
from rlinf.models.loading import build_policy, save_policy
from rlinf.runners.run import Run

FORMAT = 1  # raise it when the same settings would give other demonstrations or weights
_OF_TRAINING = {"steps", "batch_size", "lr", "label_smoothing_bins", "cache_dir"}


def start_weights(config: Config, plan: Plan, run: Run) -> Config:
    """The configuration with its start weights in `actor.model.model_path`.

    They come from `runner.ckpt_path`, from `actor.model.model_path`, or from the warm-up.
    """
    path = config.runner.ckpt_path or config.actor.model.model_path
    if path is None and config.imitation is not None:
        path = str(_warm_up(config, plan, config.imitation, run))
    model = config.actor.model.model_copy(update={"model_path": path})
    return config.model_copy(update={"actor": config.actor.model_copy(update={"model": model})})


def _warm_up(config: Config, plan: Plan, settings: ImitationConfig, run: Run) -> Path:
    """The folder of the warmed-up policy."""
    data_key, policy_key = _keys(config, settings)
    cache = Path(settings.cache_dir).expanduser()
    folder = cache / f"warmup-{policy_key}"
    if folder.is_dir():
        run.console.note(f"warm-up: taken from {folder}")
    else:
        data = _demonstrations(
            config, plan, settings, cache / f"demonstrations-{data_key}.npz", run
        )
        _imitate(config, plan, settings, data, folder, run)
    return folder


def _demonstrations(
    config: Config, plan: Plan, settings: ImitationConfig, path: Path, run: Run
) -> Demonstrations:
    """The demonstrations, from the cache or collected now."""
    if path.is_file():
        return Demonstrations.load(path)
    parts: list[Demonstrations] = []
    with run.console.phase("demonstrations", once=True):
        for part in collect(
            settings,
            config.env.train,
            config.actor.model.num_action_chunks,
            max(1, plan.train.simulator_processes),
            run.folder / "workers" / "demonstrations.log",
        ):
            run.stop.check()
            parts.append(part)
            done = sum(part.episodes for part in parts)
            run.console.progress(done, settings.num_demonstrations)
    data = Demonstrations.concatenate(parts)
    run.console.note(
        f"{data.episodes} demonstrations, {data.success:.0%} successful, {len(data)} samples"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{os.getpid()}-{path.name}")
    data.save(building)
    building.rename(path)
    return data


def _imitate(
    config: Config,
    plan: Plan,
    settings: ImitationConfig,
    data: Demonstrations,
    folder: Path,
    run: Run,
) -> None:
    """Trains a policy on the demonstrations and writes it to `folder`."""
    policy = build_policy(config.actor.model, seed=config.actor.seed)
    if not isinstance(policy, ImitablePolicy):
        raise UserError(
            f"imitation: the policy {config.actor.model.model_type} cannot learn by imitation",
            "leave the section `imitation` out, or use actor.model.model_type=tiny_vla",
        )

    def on_step(step: int, loss: float) -> None:
        run.stop.check()
        run.console.progress(step, settings.steps)

    torch.set_num_threads(plan.cores["actor"])
    with run.console.phase("imitation", once=True):
        fit(policy, data, settings, on_step)
    building = folder.with_name(f".{os.getpid()}-{folder.name}")
    save_policy(policy, config.actor.model, building)
    if folder.is_dir():  # another run was faster
        shutil.rmtree(building)
    else:
        building.rename(folder)


def _keys(config: Config, settings: ImitationConfig) -> tuple[str, str]:
    """Digests of everything that the demonstrations, and the policy, depend on."""
    env = config.env.train
    data = {
        "format": FORMAT,
        "version": __version__,
        "simulator": [env.simulator_type, env.init_params.model_dump(mode="json")],
        "limit": env.max_episode_steps,
        "chunk": config.actor.model.num_action_chunks,
        "demonstrations": settings.model_dump(mode="json", exclude=_OF_TRAINING),
    }
    policy = {
        **data,
        "model": config.actor.model.model_dump(mode="json"),
        "seed": config.actor.seed,
        "fit": settings.model_dump(mode="json", exclude={"cache_dir"}),
    }
    return _digest(data), _digest(policy)


def _digest(parts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
