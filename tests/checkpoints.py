"""A checkpoint as a run leaves it, without the run."""

from __future__ import annotations

from pathlib import Path

from rlinf.config.schema import Config
from rlinf.models.base import Policy
from rlinf.models.loading import build_policy
from rlinf.models.shards import CONFIG_FILE, FOLDER, POLICY, begin_to_write, weights_of
from rlinf.runners import checkpoint


def leave_checkpoint(config: Config, folder: Path, step: int = 3, seed: int = 0) -> Policy:
    """Writes `checkpoints/global_step_<step>` of a run with the weights of the seed."""
    policy = build_policy(config.actor.model, seed)

    def write(building: Path) -> None:
        begin_to_write({POLICY: weights_of(policy)}, building / FOLDER, None).result()
        (building / CONFIG_FILE).write_text(config.model_dump_json())

    checkpoint.save(folder / "checkpoints", step, write, keep=1)
    return policy
