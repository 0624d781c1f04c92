"""The folder that `rlinf serve` is given: a run, a checkpoint, or an exported policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlinf.config.base import POLICY_FILE
from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.config.validate import read_stored
from rlinf.errors import UserError
from rlinf.models.shards import CONFIG_FILE, is_checkpoint
from rlinf.runners import checkpoint


def configuration(given: Path, config: str | None, overrides: Sequence[str]) -> tuple[Config, Path]:
    """The configuration that the policy acts with, its weights chosen, and their folder.

    Args:
        given: a run's folder (its best checkpoint, else its newest), a checkpoint, or a policy
            folder.
        config: a configuration with the environment of a policy folder, which says nothing of it.

    Raises:
        UserError: the folder holds no policy, it is damaged, or its environment is not named.
    """
    folder = checkpoint.follow(_in_run(given.expanduser()))
    if is_checkpoint(folder):
        if config is not None or overrides:
            raise UserError(
                f"--config: {folder} is a checkpoint, which has a configuration of its own",
                "leave --config and overrides out",
            )
        checkpoint.verified(folder, "CKPT")
        stored = read_stored(folder / CONFIG_FILE)
        runner = stored.runner.model_copy(update={"ckpt_path": str(folder)})
        return stored.model_copy(update={"runner": runner}), folder
    if not (folder / POLICY_FILE).is_file():
        raise UserError(
            f"CKPT = {given}: there is no policy in it",
            "name a run, RUN/checkpoints/global_step_N, or a folder that rlinf export wrote",
        )
    if config is None:
        raise UserError(
            f"CKPT = {given}: a policy folder does not say for which environment it acts",
            "name a configuration of that: rlinf serve CKPT --config quickstart",
        )
    return load(config, [*overrides, f"actor.model.model_path={folder.resolve()}"]).config, folder


def _in_run(folder: Path) -> Path:
    root = folder / "checkpoints"
    named = [root / name for name in (checkpoint.BEST, checkpoint.LATEST)]
    return next((pointer for pointer in named if pointer.is_file()), folder)
