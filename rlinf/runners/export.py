"""`rlinf export`: the policy of a checkpoint, after checking both places."""

from __future__ import annotations

from pathlib import Path

from rlinf.errors import UserError
from rlinf.models.export import write_policy
from rlinf.runners import checkpoint


def export(source: Path, out: Path, adapter: bool) -> None:
    """Exports a checkpoint, after checking it, to a folder that does not exist yet.

    Args:
        source: a checkpoint, or `checkpoints/best` or `checkpoints/latest` of a run.
        adapter: write the adapter alone, rather than the model with the adapter folded in.

    Raises:
        UserError: the checkpoint is damaged, the folder exists, or there is no adapter.
    """
    folder = checkpoint.verified(checkpoint.follow(source), "CHECKPOINT")
    if out.exists():
        raise UserError(f"OUT = {out}: it exists already", "Name a new folder.")
    write_policy(folder, out, adapter)
