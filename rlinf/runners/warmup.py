"""The initial weights of a run: given ones, or a warm-up by imitation, which is cached."""

from __future__ import annotations

from pathlib import Path

from rlinf.config.derive import Plan
from rlinf.config.imitation import ImitationConfig
from rlinf.config.machine import cache_folder
from rlinf.config.schema import Config, FsdpConfig
from rlinf.data.disk import written_beside
from rlinf.imitation.lerobot.read import DataSet
from rlinf.models.shards import is_checkpoint
from rlinf.runners import checkpoint
from rlinf.runners.demonstrations import cached, data_folders, data_key, decode_pictures, digest
from rlinf.runners.run import Run

_OF_NO_EFFECT = {"cache_dir", "log_interval", "eval_interval", "save_interval"}  # on the weights


def given_weights(config: Config) -> Config:
    """The configuration with the weights of `runner.ckpt_path`, where it is given.

    A policy folder becomes part of `actor.model`. A checkpoint stays in `runner.ckpt_path`: it
    holds what training changed, on top of the model.

    Raises:
        UserError: the checkpoint is damaged.
    """
    if config.runner.ckpt_path is None:
        return config
    folder = checkpoint.follow(Path(config.runner.ckpt_path).expanduser())
    if is_checkpoint(folder):
        checked = str(checkpoint.verified(folder, "runner.ckpt_path"))
        runner = config.runner.model_copy(update={"ckpt_path": checked})
        return config.model_copy(update={"runner": runner})
    runner = config.runner.model_copy(update={"ckpt_path": None})
    return _at(folder, config.model_copy(update={"runner": runner}))


def initial_weights(config: Config, plan: Plan, run: Run) -> Config:
    """The configuration with its initial weights chosen: given ones, or those of the warm-up.

    Raises:
        UserError: the checkpoint given is damaged.
    """
    config = given_weights(config)
    given = config.runner.ckpt_path or config.actor.model.model_path
    if given is not None or config.imitation is None:
        return config
    return _at(_warm_up(config, plan, config.imitation, run), config)


def _at(folder: Path, config: Config) -> Config:
    """The configuration with this folder of the initial weights."""
    model = config.actor.model.starting_from(folder)
    return config.model_copy(update={"actor": config.actor.model_copy(update={"model": model})})


def _warm_up(config: Config, plan: Plan, settings: ImitationConfig, run: Run) -> Path:
    """The folder of the warmed-up policy."""
    cache, threads = cache_folder(settings.cache_dir), plan.cores["actor"]
    folder = cache / f"warmup-{digest(_policy_key(config, settings, threads))}"
    cached("warm-up", folder, lambda: _imitate(config, plan, settings, run, folder), run)
    return folder


def _imitate(config: Config, plan: Plan, settings: ImitationConfig, run: Run, folder: Path) -> None:
    from rlinf.models.loading import save_policy  # with torch, which takes seconds to import
    from rlinf.workers.imitation import ImitationWorker

    threads = plan.cores["actor"]
    folders = data_folders(config, plan, settings, run)
    decode_pictures(folders, settings, run)
    with run.console.phase("imitation", once=True):
        worker = ImitationWorker(_alone(config), folders, 0, 1, threads, device="cpu")
        for step in range(settings.steps):
            run.stop.check()
            worker.train(step, step + 1)
            run.console.progress(step + 1, settings.steps)
    with written_beside(folder) as building:
        save_policy(worker.policy, config.actor.model, building)


def _alone(config: Config) -> Config:
    """For one process on the CPU: weights are neither sharded nor offloaded."""
    actor = config.actor.model_copy(update={"fsdp_config": FsdpConfig(), "enable_offload": False})
    return config.model_copy(update={"actor": actor})


def _policy_key(config: Config, settings: ImitationConfig, threads: int) -> dict[str, object]:
    """Everything that the warmed-up policy depends on, to the last bit."""
    return {
        **data_key(config),
        "sets": [DataSet(folder).fingerprint() for folder in settings.data],
        "model": config.actor.model.imitated(),
        "seed": config.actor.seed,
        "threads": threads,  # sums are added up in another order
        "fit": settings.model_dump(mode="json", exclude=_OF_NO_EFFECT),
    }
