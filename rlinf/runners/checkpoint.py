"""Checkpoints: written beside, verified, renamed; `latest` points to the newest good one.

    RUN/checkpoints/latest                      name of the newest complete checkpoint
    RUN/checkpoints/global_step_12/manifest.json   size and SHA-256 of every other file
    RUN/checkpoints/global_step_12/...          whatever the writer put there

A folder counts only with a manifest that every file agrees with. A run that dies while it writes
leaves a hidden temporary folder, which the next save removes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from rlinf.errors import UserError

MANIFEST = "manifest.json"
LATEST = "latest"
_NAME = re.compile(r"global_step_(\d+)")


def save(root: Path, step: int, write: Callable[[Path], None], keep: int) -> Path:
    """Writes checkpoint `step` and removes all but the newest `keep`.

    Args:
        root: the run's `checkpoints` folder.
        write: fills the folder it is given.

    Raises:
        OSError: the disk is full or not writable; older checkpoints are then untouched.
    """
    root.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(root)
    target, building = root / f"global_step_{step}", root / f".global_step_{step}.{os.getpid()}.tmp"
    building.mkdir()
    try:
        write(building)
        _write_manifest(building, step)
        if target.exists():  # the same step again, after a resume
            target.rename(root / f".{target.name}.{os.getpid()}.old")
        building.rename(target)
        _sync(root)
        _write_text(root / LATEST, target.name + "\n")
    finally:
        _remove_leftovers(root)
    for old in _folders(root)[keep:]:
        shutil.rmtree(old)
    return target


def verify(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None if every file is as it was written."""
    path = folder / MANIFEST
    if not path.is_file():
        return f"{MANIFEST} is missing"
    try:
        files = json.loads(path.read_text())["files"]
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} is damaged"
    for name, expected in files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != expected["bytes"]:
            return f"{name} has {file.stat().st_size} bytes instead of {expected['bytes']}"
        if _digest(file) != expected["sha256"]:
            return f"{name} has another checksum than when it was written"
    return None


def find(root: Path, resume_dir: str) -> tuple[Path | None, list[str]]:
    """The checkpoint to resume from, and warnings about damaged ones that were passed over.

    Args:
        root: the run's `checkpoints` folder.
        resume_dir: `auto` for the newest good one (None if there is none), or a path.

    Raises:
        UserError: if the path named is no good checkpoint.
    """
    if resume_dir != "auto":
        folder = Path(resume_dir)
        problem = verify(folder) if folder.is_dir() else "there is no such folder"
        if problem is not None:
            raise UserError(
                f"runner.resume_dir = {resume_dir}: {problem}.",
                "Use runner.resume_dir=auto for the newest good checkpoint of the run.",
            )
        return folder, []
    warnings: list[str] = []
    for folder in _folders(root):
        problem = verify(folder)
        if problem is None:
            return folder, warnings
        warnings.append(f"{folder} is passed over: {problem}")
    return None, warnings


def step_of(folder: Path) -> int:
    """Iterations that were complete when the checkpoint was written."""
    return int(json.loads((folder / MANIFEST).read_text())["step"])


def _folders(root: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    found = [(int(m[1]), p) for p in root.glob("global_step_*") if (m := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _remove_leftovers(root: Path) -> None:
    for leftover in [*root.glob(".global_step_*.tmp"), *root.glob(".global_step_*.old")]:
        shutil.rmtree(leftover)


def _write_manifest(folder: Path, step: int) -> None:
    """Lists every file with size and checksum, after each is safely on the disk."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        _sync(path)
        name = path.relative_to(folder).as_posix()
        files[name] = {"bytes": path.stat().st_size, "sha256": _digest(path)}
    _write_text(folder / MANIFEST, json.dumps({"step": step, "files": files}, indent=2) + "\n")
    _sync(folder)


def _write_text(path: Path, text: str) -> None:
    """Replaces a small file at once: a reader sees the old text or the new, nothing between."""
    building = path.with_name(f".{path.name}.tmp")
    building.write_text(text)
    _sync(building)
    building.rename(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
