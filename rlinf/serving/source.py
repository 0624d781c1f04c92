"""The folder that `rlinf serve` is given: a run, a checkpoint, or an exported policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlinf.config import portable
from rlinf.config.base import ADAPTER_FILE, POLICY_FILE
from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.config.validate import read_stored
from rlinf.errors import UserError
from rlinf.models.shards import CONFIG_FILE, is_checkpoint
from rlinf.runners import checkpoint
from rlinf.runners.warmup import given_weights


def configuration(given: Path, config: str | None, overrides: Sequence[str]) -> tuple[Config, Path]:
    """The configuration that the policy acts with, its weights chosen, and their folder.

    Args:
        given: a run's folder (its best checkpoint, else its newest), a checkpoint, or a policy
            folder.
        config: a configuration with the environment of a policy folder; None takes the one that
            lies in it.

    Raises:
        UserError: the folder holds no policy, it is damaged, or its environment is not named.
    """
    folder = checkpoint.follow(_in_run(given.expanduser()))
    if is_checkpoint(folder):
        if config is not None or overrides:
            raise _has_its_own(given)
        checkpoint.verified(folder, "CKPT")
        stored = read_stored(folder / CONFIG_FILE)
        runner = stored.runner.model_copy(update={"ckpt_path": str(folder)})
        return stored.model_copy(update={"runner": runner}), folder
    if not any((folder / name).is_file() for name in (POLICY_FILE, CONFIG_FILE, ADAPTER_FILE)):
        raise UserError(
            f"CKPT = {given}: there is no policy in it",
            "name a run, RUN/checkpoints/global_step_N, or a folder that rlinf export wrote",
        )
    if config is not None:
        loaded = load(config, [*overrides, f"runner.ckpt_path={folder.resolve()}"])
        return given_weights(loaded.config), folder
    if (folder / ADAPTER_FILE).is_file():
        raise UserError(
            f"CKPT = {given}: it holds an adapter alone, without the model that it adapts",
            "name the run or its checkpoint, what rlinf export writes without --adapter, or the "
            "model: rlinf serve CKPT --config CONFIG actor.model.model_path=MODEL",
        )
    if not (folder / portable.FILE).is_file():
        raise UserError(
            f"CKPT = {given}: there is no {portable.FILE} in it, which says for which environment "
            "the policy acts",
            "name a configuration that does: rlinf serve CKPT --config quickstart",
        )
    if overrides:
        raise _has_its_own(given)
    return read_stored(folder / portable.FILE, model_path=folder.resolve()), folder


def _has_its_own(given: Path) -> UserError:
    return UserError(
        f"CKPT = {given}: it has a configuration of its own, which cannot be overridden",
        "leave --config and overrides out",
    )


def _in_run(folder: Path) -> Path:
    root = folder / "checkpoints"
    named = [root / name for name in (checkpoint.BEST, checkpoint.LATEST)]
    return next((pointer for pointer in named if pointer.is_file()), folder)
