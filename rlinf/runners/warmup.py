"""The start weights of a run: given ones, or a warm-up by imitation, which is cached."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rlinf.config.derive import Plan
from rlinf.config.imitation import ImitationConfig
from rlinf.config.schema import Config
from rlinf.imitation.lerobot.read import DataSet
from rlinf.models.loading import is_checkpoint
from rlinf.runners import checkpoint
from rlinf.runners.demonstrations import data_folders, data_key, decode_pictures, digest
from rlinf.runners.run import Run
from rlinf.workers.imitation import ImitationWorker

_OF_NO_EFFECT = {"cache_dir", "log_interval", "eval_interval", "save_interval"}  # on the weights


def start_weights(config: Config, plan: Plan, run: Run) -> Config:
    """The configuration with its start weights chosen.

    A policy folder, of `runner.ckpt_path` or of the warm-up, becomes `actor.model.model_path`. A
    checkpoint of a training stays in `runner.ckpt_path`: it holds what training changed, on top of
    the model.

    Raises:
        UserError: the checkpoint is damaged.
    """
    path, model, checked = config.actor.model.model_path, config.actor.model, None
    if config.runner.ckpt_path is not None:
        folder = checkpoint.follow(Path(config.runner.ckpt_path).expanduser())
        if is_checkpoint(folder):
            checked = str(checkpoint.verified(folder, "runner.ckpt_path"))
        else:
            path = str(folder)
    elif path is None and config.imitation is not None:
        path = str(_warm_up(config, plan, config.imitation, run))
    actor = config.actor.model_copy(update={"model": model.model_copy(update={"model_path": path})})
    runner = config.runner.model_copy(update={"ckpt_path": checked})
    return config.model_copy(update={"actor": actor, "runner": runner})


def _warm_up(config: Config, plan: Plan, settings: ImitationConfig, run: Run) -> Path:
    """The folder of the warmed-up policy."""
    cache = Path(settings.cache_dir).expanduser()
    folder = cache / f"warmup-{digest(_policy_key(config, settings))}"
    if folder.is_dir():
        run.console.note(f"warm-up: taken from {folder}")
        return folder
    folders = data_folders(config, plan, settings, run)
    decode_pictures(folders, settings, run)
    with run.console.phase("imitation", once=True):
        worker = ImitationWorker(config, folders, 0, 1, plan.cores["actor"], device="cpu")
        for step in range(settings.steps):
            run.stop.check()
            worker.train(step, step + 1)
            run.console.progress(step + 1, settings.steps)
    building = folder.with_name(f".{os.getpid()}-{folder.name}")
    worker.export(str(building))
    if folder.is_dir():  # another run was faster
        shutil.rmtree(building)
    else:
        building.rename(folder)
    return folder


def _policy_key(config: Config, settings: ImitationConfig) -> dict[str, object]:
    """Everything that the warmed-up policy depends on."""
    return {
        **data_key(config),
        "sets": [DataSet(folder).fingerprint() for folder in settings.data],
        "model": config.actor.model.model_dump(mode="json"),
        "seed": config.actor.seed,
        "fit": settings.model_dump(mode="json", exclude=_OF_NO_EFFECT),
    }
