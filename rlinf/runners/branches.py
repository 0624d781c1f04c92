"""A run that is continued from an earlier step leaves a branch: what followed is set aside.

Otherwise its checkpoints would be the newest of the run, and its evaluations those of other weights
with the same step. The lines of `metrics.jsonl` after that step are dropped when it is opened.
"""

from __future__ import annotations

import re
from pathlib import Path

from rlinf.runners import checkpoint

ABANDONED = "abandoned"
_EVALUATION = re.compile(r"step_(\d+)\.json")


def leave_branch(folder: Path, origin: Path, step: int) -> Path | None:
    """Moves what a run's folder holds of another branch into a folder of its own.

    Args:
        folder: of the run.
        origin: the checkpoint that is continued. If it is not one of this run, everything in the
            folder is of another branch.
        step: iterations that were complete then.

    Returns:
        The folder, below `RUN/abandoned`; None if there was nothing to move.
    """
    root = folder / "checkpoints"
    if origin.resolve().parent != root.resolve():
        step = -1
    after = [found for found in checkpoint.folders(root) if checkpoint.number_of(found) > step]
    after += [path for path in (folder / "eval").glob("step_*.json") if _step_of(path) > step]
    if not after:
        return None
    number = 1 + len(list((folder / ABANDONED).glob("*")))
    aside = folder / ABANDONED / str(number)
    for path in after:
        target = aside / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    checkpoint.point(root, origin if step >= 0 else None)
    return aside


def _step_of(path: Path) -> int:
    """Of an evaluation's file; -2 where the name is none of ours."""
    match = _EVALUATION.fullmatch(path.name)
    return int(match[1]) if match else -2
