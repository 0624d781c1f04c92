"""What BEHAVIOR needs on a machine, and where it lies: Isaac Sim, the data sets, task instances.

This module is read by our own Python, for checks, and by the simulator's.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rlinf.errors import UserError

DATA, ISAAC = "OMNIGIBSON_DATA_PATH", "ISAAC_PATH"
"""Environment variables: the folder of the data sets, and that of a standalone Isaac Sim 4.5."""
KEY = "omnigibson.key"
FETCH = "rlinf assets download behavior --accept-license"


class Download(NamedTuple):
    """A data set, by the official function that fetches it."""

    title: str
    folder: str  # below the folder of the data sets
    function: str  # of `omnigibson.utils.asset_utils`
    arguments: str = ""
    licensed: bool = False


DOWNLOADS = (
    Download("robot assets", "omnigibson-robot-assets", "download_omnigibson_robot_assets"),
    Download(
        *("BEHAVIOR-1K assets", "behavior-1k-assets", "download_behavior_1k_assets"),
        *("accept_license=True", True),
    ),
    Download(
        *("task instances of the 2025 challenge", "2025-challenge-task-instances"),
        "download_2025_challenge_task_instances",
    ),
)


def folder() -> Path | None:
    """Of the data sets; None where the variable is not set.

    Raises:
        UserError: the path is relative.
    """
    named = os.environ.get(DATA)
    if not named:
        return None
    path = Path(named).expanduser()
    if not path.is_absolute():
        raise UserError(
            f"{DATA} = {named}: OmniGibson takes a relative path from its own package on",
            f"export {DATA}={path.absolute()}",
        )
    return path


def first_file(below: Path) -> Path:
    """A file in a folder or in those below it; the folder itself where there is none."""
    return next((path for path in below.rglob("*") if path.is_file()), below)


def lacking(standalone: bool) -> Iterator[tuple[str, str]]:
    """What is not on this machine, and what to do about it.

    Args:
        standalone: Isaac Sim is a folder of its own, not a package of the simulator's Python.
    """
    if standalone and not os.environ.get(ISAAC):
        yield (
            f"{ISAAC} is not set",
            f"export {ISAAC}=FOLDER of Isaac Sim 4.5.0 (docs/source-en/benchmarks/behavior.md)",
        )
    elif standalone and not Path(os.environ[ISAAC]).is_dir():
        yield f"{ISAAC} = {os.environ[ISAAC]}: there is no such folder", f"correct {ISAAC}"
    try:
        root = folder()
    except UserError as error:
        yield error.message, error.fix
        return
    if root is None:
        yield f"{DATA} is not set", f"export {DATA}=FOLDER with more than 30 GB free, then: {FETCH}"
        return
    missing = [each.title for each in DOWNLOADS if not first_file(root / each.folder).is_file()]
    if not (root / KEY).is_file() and DOWNLOADS[1].title not in missing:
        missing.insert(0, f"{KEY}, the key of the assets,")
    if missing:
        yield f"{DATA} = {root}: it has no {', no '.join(missing)}", f"run: {FETCH}"


class Instances(NamedTuple):
    """The starts of an activity: files with the poses of its objects and of the robot."""

    scene: str
    training: tuple[Path, ...]
    evaluation: tuple[Path, ...]


_FILE = re.compile(r"_(\d+)_template-tro_state\.json$")


def instances(activity: str) -> Instances:
    """The instances of an activity, in order of their numbers.

    Raises:
        UserError: they are not on this machine.
    """
    root = folder()
    if root is None:
        raise UserError(f"{DATA} is not set", f"export {DATA}=FOLDER of the data sets")
    for challenge in sorted(root.glob("*-challenge-task-instances")):
        for found in sorted(challenge.glob(f"scenes/*/json/*_task_{activity}_instances")):
            matches = [(_FILE.search(path.name), path) for path in found.iterdir()]
            numbered = {int(match[1]): path for match, path in matches if match}
            held_out = _evaluated(challenge / "metadata" / "test_instances.csv", activity)
            absent = [number for number in held_out if number not in numbered]
            if absent:
                raise UserError(
                    f"{found} has no instance {absent[0]}, which the challenge evaluates on",
                    f"remove {challenge} and fetch it again: {FETCH}",
                )
            return Instances(
                found.parents[1].name,
                tuple(numbered[n] for n in sorted(numbered) if n not in held_out),
                tuple(numbered[n] for n in held_out),
            )
    raise UserError(
        f"{root} has no instances of the activity {activity}", f"fetch the data sets: {FETCH}"
    )


def _evaluated(table: Path, activity: str) -> list[int]:
    """Numbers of the instances that the challenge evaluates on; the table's columns are index,
    activity, and numbers with commas.
    """
    if not table.is_file():
        raise UserError(
            f"{table} is missing, which says what is evaluated", f"fetch the data sets: {FETCH}"
        )
    with table.open(newline="", encoding="utf-8") as file:
        rows = {row[1]: row[2] for row in csv.reader(file) if len(row) > 2}
    return [int(number) for number in rows.get(activity, "").split(",") if number.strip()]
