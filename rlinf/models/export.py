"""From a checkpoint to a policy folder in the form in which others of its kind are published."""

from __future__ import annotations

import shutil
from pathlib import Path

from rlinf.config.validate import read_stored
from rlinf.errors import UserError
from rlinf.models.loading import build_policy, save_policy
from rlinf.models.shards import CONFIG_FILE


def write_policy(folder: Path, out: Path, adapter: bool = False) -> None:
    """Exports a checkpoint that is known to be good; `out` appears, or is replaced, whole."""
    config = read_stored(folder / CONFIG_FILE)
    model = config.actor.model
    if adapter and not model.trains_adapters:
        raise UserError(
            f"--adapter: the run of {folder} trained all weights, there is no adapter",
            "Leave --adapter out.",
        )
    policy = build_policy(model, config.actor.seed, folder)
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.parent.mkdir(parents=True, exist_ok=True)
    save_policy(policy, model, building, merge=model.trains_adapters and not adapter)
    shutil.rmtree(out, ignore_errors=True)
    building.rename(out)
