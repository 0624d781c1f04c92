"""Where a run puts its results: no run ever writes into the folder of another."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

LOG_ROOT = Path("logs")
"""Where runs go that name no folder, as seen from where they are started."""
RUN_MARKS = ("metrics.jsonl", "checkpoints")
"""A folder with one of these holds a run."""
_STAMP, _STAMPED = "%Y%m%d-%H%M%S", "????????-??????-"


def set_log_path(config: DictConfig, name: str, purpose: str = "") -> list[str]:
    """Makes `runner.logger.log_path` absolute, before anything that refers to it is resolved.

    Without one the run gets a new `logs/<date-time>-<name>`, with `-<purpose>` after it where it is
    no training. A given folder that holds a run already gets such a sub-folder for the next.
    `runner.resume_dir: auto` takes the newest that exists, a path the run that it lies in. An
    evaluation stays in the folder given.

    Returns:
        What was chosen instead of what was given.
    """
    logger = "runner.logger"
    given = OmegaConf.select(config, f"{logger}.log_path")
    inside = str(OmegaConf.select(config, f"{logger}.experiment_name") or "")
    resume = OmegaConf.select(config, "runner.resume_dir")
    evaluates = bool(OmegaConf.select(config, "runner.only_eval"))
    purpose = "eval" if evaluates else purpose
    name += f"-{purpose}" if purpose else ""
    notes: list[str] = []
    if not given:
        runs = sorted(LOG_ROOT.glob(_STAMPED + name)) if resume == "auto" else []
        path = runs[-1] if runs else _new_folder(LOG_ROOT, name)
    else:
        path = Path(str(given)).expanduser()
        runs = [run for run in (path, *sorted(path.glob(_STAMPED + name))) if _is_run(run / inside)]
        if resume == "auto":
            path = runs[-1] if runs else path
        elif resume is not None and (owners := [r for r in runs if _is_inside(resume, r / inside)]):
            path = owners[-1]
        elif path in runs and not evaluates:
            used, path = path / inside, _new_folder(path, name)
            notes.append(
                f"{logger}.log_path: {used} holds a run already, so this one goes to {path}; "
                "runner.resume_dir=auto would continue the newest"
            )
    OmegaConf.update(config, f"{logger}.log_path", str(path.resolve()), force_add=True)
    return notes


def _is_run(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in RUN_MARKS)


def _is_inside(path: str, folder: Path) -> bool:
    return Path(path).expanduser().resolve().is_relative_to(folder.resolve())


def _new_folder(root: Path, name: str) -> Path:
    """`<date-time>-<name>`; a run that begins in the same second as another takes the next free."""
    moments = (datetime.now() + timedelta(seconds=later) for later in count())
    folders = (root / f"{moment.strftime(_STAMP)}-{name}" for moment in moments)
    return next(folder for folder in folders if not folder.exists())
