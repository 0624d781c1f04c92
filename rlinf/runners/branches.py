"""A run that is continued from an earlier step leaves a branch: what followed is set aside.

Otherwise its checkpoints would be the newest of the run, and its evaluations those of other weights
with the same step. The lines of `metrics.jsonl` after that step are dropped when it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rlinf.errors import UserError
from rlinf.logging.writers import METRICS_FILE
from rlinf.runners import checkpoint
from rlinf.runners.run import Run

ABANDONED = "abandoned"
RESULTS = (METRICS_FILE, "tensorboard", "wandb", "swanlab", "trace.json", "eval")
"""What a run writes before its first checkpoint."""
_EVALUATION = re.compile(r"step_(\d+)\.(json|md|html)")


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
    after += [path for path in (folder / "eval").glob("step_*.*") if _step_of(path) > step]
    if not after:
        return None
    aside = _move_aside(folder, after)
    checkpoint.point(root, origin if step >= 0 else None)
    return aside


def checkpoint_to_continue(run: Run, asked: str | None) -> Path | None:
    """The good checkpoint that a run goes on from; None where it begins.

    A run that was cut off before its first checkpoint begins anew: what it has written is moved
    into a folder below `RUN/abandoned`.

    Args:
        asked: `runner.resume_dir`.

    Raises:
        UserError: the checkpoint named is damaged, or each that the run has.
    """
    if asked is None:
        return None
    folder, damaged = checkpoint.find(run.checkpoints, asked)
    if folder is None and damaged:
        raise UserError(
            f"runner.resume_dir = {asked}: no checkpoint of {run.folder} is whole: "
            + "; ".join(damaged),
            "begin a new run in another runner.logger.log_path, or move these checkpoints away",
        )
    for warning in damaged:
        run.console.warn(warning)
    if folder is None:
        written = [run.folder / name for name in RESULTS if (run.folder / name).exists()]
        before = f"; what it wrote is now in {_move_aside(run.folder, written)}" if written else ""
        run.console.note(f"{run.checkpoints} holds no checkpoint: the run begins anew{before}")
    return folder


def _move_aside(folder: Path, paths: Iterable[Path]) -> Path:
    """Moves parts of a run's folder below a new folder in `RUN/abandoned`, and returns that."""
    number = 1 + len(list((folder / ABANDONED).glob("*")))
    aside = folder / ABANDONED / str(number)
    for path in paths:
        target = aside / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    return aside


def _step_of(path: Path) -> int:
    """Of an evaluation's file; -2 where the name is none of ours."""
    match = _EVALUATION.fullmatch(path.name)
    return int(match[1]) if match else -2
