"""From a checkpoint to a policy folder in the form in which others of its kind are published."""

from __future__ import annotations

import shlex
from pathlib import Path

from rlinf.config import portable
from rlinf.config.validate import read_stored
from rlinf.data.disk import refusals_told, written_beside
from rlinf.errors import UserError
from rlinf.models.loading import build_policy, save_policy
from rlinf.models.shards import CONFIG_FILE


def write_policy(folder: Path, out: Path, adapter: bool = False) -> None:
    """Exports a checkpoint that is known to be good; `out` appears, or is replaced, whole.

    The configuration lies beside the weights, so that the folder says what it acts for.
    """
    config = read_stored(folder / CONFIG_FILE)
    model = config.actor.model
    if adapter and not model.trains_adapters:
        raise UserError(
            f"--adapter: the run of {folder} trained all weights, there is no adapter",
            "Leave --adapter out.",
        )
    if adapter and not model.saves_adapters:
        raise UserError(
            f"--adapter: the adapters of {model.model_type} are written folded into its weights",
            "Leave --adapter out.",
        )
    policy = build_policy(model, config.actor.seed, folder)
    again = (
        "make room, or name a folder on another disk; the checkpoint is whole, and this writes its "
        f"policy: rlinf export {shlex.quote(str(folder))} FOLDER"
    )
    with refusals_told("the policy", out, again), written_beside(out) as building:
        save_policy(policy, model, building, merge=model.trains_adapters and not adapter)
        portable.write(config, building)
