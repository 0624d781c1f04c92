"""Where a run puts its results: no run ever writes into the folder of another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from glob import escape
from itertools import count
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig, OmegaConf

from rlinf.config.paths import expanded

LOG_ROOT = Path("logs")
"""Where runs go that name no folder, as seen from where they are started."""
RUN_MARKS = ("metrics.jsonl", "checkpoints")
"""A folder with one of these holds a run."""
RECORD = "run.json"
"""What a run notes of itself when it begins."""
_STAMP, _STAMPED = "%Y%m%d-%H%M%S", "????????-??????-"


class Reservation:
    """Folders made for a run before it begins, so that no run of the same second takes them."""

    def __init__(self) -> None:
        self._made: list[Path] = []

    def take(self, folder: Path) -> bool:
        """Makes the folder; False where it is another's."""
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            return False
        except OSError:  # no run can write there, which the checks of the machine report
            return True
        self._made += missing
        return True

    def give_up(self) -> None:
        """Removes what was made, as the run does not begin."""
        for folder in self._made:
            with suppress(OSError):  # meanwhile another run lies in it
                folder.rmdir()


def set_log_path(
    config: DictConfig,
    name: str,
    purpose: str = "",
    take: Callable[[Path], bool] = lambda folder: True,
) -> list[str]:
    """Makes `runner.logger.log_path` absolute, before anything that refers to it is resolved.

    Without one the run gets a new `logs/<date-time>-<name>`, with `-<purpose>` after it where it is
    no training. A given folder that holds a run already gets such a sub-folder for the next.
    `runner.resume_dir: auto` takes the newest that has a checkpoint, without any the newest; a path
    takes the run that it lies in. An evaluation stays in the folder given.

    Args:
        take: whether a new folder is this run's; see `Reservation.take`.

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
    stamped = _STAMPED + escape(name)
    if not given:
        runs = list(LOG_ROOT.glob(stamped)) if resume == "auto" else []
        path = _to_continue(runs, inside, notes) if runs else _new_folder(LOG_ROOT, name, take)
    else:
        path = expanded(str(given))
        runs = [run for run in (path, *path.glob(stamped)) if _is_run(run / inside)]
        if resume == "auto":
            path = _to_continue(runs, inside, notes) if runs else path
        elif resume is not None and (owners := [r for r in runs if _is_inside(resume, r / inside)]):
            path = owners[-1]
        elif path in runs and not evaluates:
            used, path = path / inside, _new_folder(path, name, take)
            notes.append(
                f"{logger}.log_path: {used} holds a run already, so this one goes to {path}; "
                "runner.resume_dir=auto would continue the newest"
            )
    unknown = str(path).startswith("~")  # of a user that is not there, which validation refuses
    whole = path if unknown else path.resolve()
    OmegaConf.update(config, f"{logger}.log_path", str(whole), force_add=True)
    return notes


def _is_run(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in RUN_MARKS)


def _is_inside(path: str, folder: Path) -> bool:
    return expanded(path).resolve().is_relative_to(folder.resolve())


class _Age(NamedTuple):
    """The order of runs of which one is to be continued."""

    has_checkpoint: bool
    began: float  # seconds since 1970
    name: str


def _to_continue(runs: list[Path], inside: str, notes: list[str]) -> Path:
    """The newest of the runs with a checkpoint, which says so where another is newer."""
    ages = {run: _age(run, run / inside) for run in runs}
    chosen = max(runs, key=lambda run: ages[run])
    newest = max(runs, key=lambda run: ages[run][1:])
    if newest != chosen:
        notes.append(
            f"runner.resume_dir=auto: {newest / inside} has no checkpoint, so {chosen / inside} is "
            "continued"
        )
    return chosen


def _age(run: Path, folder: Path) -> _Age:
    """When a run began, by its own record; without one, by the name of its folder."""
    try:
        began = float(json.loads((folder / RECORD).read_text())["began"])
    except (OSError, ValueError, TypeError, LookupError):
        try:
            began = datetime.strptime(run.name[:15], _STAMP).timestamp()
        except ValueError:  # a folder that was given: those below it are newer
            began = 0.0
    has_checkpoint = any(folder.glob("checkpoints/global_step_*/manifest.json"))
    return _Age(has_checkpoint, began, run.name)


def note_beginning(folder: Path) -> None:
    """Notes when a run begins; a continued one has begun already."""
    record = folder / RECORD
    if not record.exists():
        record.write_text(json.dumps({"began": time.time()}) + "\n")


def _new_folder(root: Path, name: str, take: Callable[[Path], bool]) -> Path:
    """`<date-time>-<name>`; a run that begins in the same second as another takes the next free."""
    moments = (datetime.now() + timedelta(seconds=later) for later in count())
    folders = (root / f"{moment.strftime(_STAMP)}-{name}" for moment in moments)
    return next(folder for folder in folders if not folder.exists() and take(folder))
