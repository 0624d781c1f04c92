"""Checkpoints: written beside, verified, renamed; `latest` points to the newest good one.

    RUN/checkpoints/latest                      name of the newest complete checkpoint
    RUN/checkpoints/best                        name of the one that was evaluated best
    RUN/checkpoints/global_step_12/manifest.json   size and SHA-256 of every other file
    RUN/checkpoints/global_step_12/...          whatever the writer put there

A folder counts only with a manifest that every file agrees with. A run that dies while it writes
leaves a hidden temporary folder, which the next save removes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from rlinf.data.disk import sync, written_beside
from rlinf.errors import UserError

logger = logging.getLogger(__name__)

MANIFEST = "manifest.json"
LATEST = "latest"
BEST = "best"
_NAME = re.compile(r"global_step_(\d+)")


def save(root: Path, step: int, write: Callable[[Path], None], keep: int) -> Path:
    """Writes checkpoint `step` with `write`, which fills the folder it is given.

    Raises:
        OSError: the disk is full or not writable; older checkpoints are then untouched.
    """
    building = begin(root, step)
    try:
        write(building)
        return commit(building, step, keep)
    finally:
        _remove_leftovers(root)


def begin(root: Path, step: int) -> Path:
    """A new folder below `root` (the run's `checkpoints`) to write checkpoint `step` to.

    It counts for nothing until `commit`.
    """
    root.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(root)
    building = root / f".global_step_{step}.{os.getpid()}.tmp"
    building.mkdir()
    return building


def commit(building: Path, step: int, keep: int, score: float | None = None) -> Path:
    """Makes what `begin` began a checkpoint, and removes all but the newest `keep` and the best.

    Args:
        score: of an evaluation of this policy; more is better. None: not evaluated.

    Raises:
        OSError: as `save`.
    """
    root = building.parent
    target = root / f"global_step_{step}"
    try:
        _write_manifest(building, step, score)
        if target.exists():  # the same step again, after a resume
            target.rename(root / f".{target.name}.{os.getpid()}.old")
        building.rename(target)
        sync(root)
        point(root, target)
    finally:
        _remove_leftovers(root)
    present = folders(root)
    best = _best(present)
    for old in present[keep:]:
        if old != best:
            _remove(old)
    return target


def abandon(building: Path) -> None:
    """Removes what `begin` began."""
    shutil.rmtree(building, ignore_errors=True)


def follow(path: Path) -> Path:
    """The checkpoint that a pointer (`checkpoints/latest`, `checkpoints/best`) names.

    Any other path is its own answer.

    Raises:
        UserError: the pointer is damaged.
    """
    if path.name not in (LATEST, BEST) or not path.is_file():
        return path
    name = path.read_bytes().decode(errors="replace").strip()
    if _NAME.fullmatch(name) is None:
        raise UserError(
            f"{path} is damaged: it does not name a checkpoint",
            f"name one itself: {path.with_name('global_step_N')}; runner.resume_dir=auto continues "
            "a run from its newest good one",
        )
    return path.with_name(name)


def verify(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None if every file is as it was written."""
    path = folder / MANIFEST
    if not path.is_file():
        return f"{MANIFEST} is missing"
    files = _files_in(path)
    if files is None:
        return f"{MANIFEST} is damaged"
    if not files:
        return f"{MANIFEST} names no files"
    for name, (size, digest) in files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes instead of {size}"
        if sum_of(file) != digest:
            return f"{name} has another checksum than when it was written"
    return None


def _files_in(manifest: Path) -> dict[str, tuple[int, str]] | None:
    """Size and SHA-256 of each file by name; None if the manifest is none of ours."""
    try:
        content = json.loads(manifest.read_text())
        int(content["step"])
        return {
            str(name): (int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in content["files"].items()
        }
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def verified(folder: Path, key: str) -> Path:
    """A folder that the key `key` names as a checkpoint.

    Raises:
        UserError: it is none, or it is damaged.
    """
    problem = verify(folder) if folder.is_dir() else "there is no such folder"
    if problem is not None:
        raise UserError(
            f"{key} = {folder}: {problem}.",
            "Name another checkpoint; runner.resume_dir=auto continues a run from its newest good "
            "one.",
        )
    return folder


def find(root: Path, resume_dir: str) -> tuple[Path | None, list[str]]:
    """The checkpoint to resume from, and warnings about damaged ones that were passed over.

    Args:
        root: the run's `checkpoints` folder.
        resume_dir: `auto` for the newest good one (None if there is none), or a path.

    Raises:
        UserError: if the path named is no good checkpoint.
    """
    if resume_dir != "auto":
        return verified(follow(Path(resume_dir).expanduser()), "runner.resume_dir"), []
    warnings: list[str] = []
    for folder in folders(root):
        problem = verify(folder)
        if problem is None:
            return folder, warnings
        warnings.append(f"{folder} is passed over: {problem}")
    return None, warnings


def step_of(folder: Path) -> int:
    """Iterations that were complete when the checkpoint was written."""
    return int(json.loads((folder / MANIFEST).read_text())["step"])


def sums_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint, by name, as its manifest has them."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    return {name: entry["sha256"] for name, entry in files.items()}


def folders(root: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    found = [path for path in root.glob("global_step_*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=number_of, reverse=True)


def number_of(folder: Path) -> int:
    """The step in a checkpoint folder's name."""
    match = _NAME.fullmatch(folder.name)
    assert match is not None, folder
    return int(match[1])


def point(root: Path, newest: Path | None) -> None:
    """Makes `latest` name `newest`, and `best` the best of the checkpoints there are."""
    for pointer, named in ((LATEST, newest), (BEST, _best(folders(root)))):
        if named is not None:
            _write_text(root / pointer, named.name + "\n")
        else:
            (root / pointer).unlink(missing_ok=True)


def _remove_leftovers(root: Path) -> None:
    for leftover in [*root.glob(".global_step_*.tmp"), *root.glob(".global_step_*.old")]:
        _remove(leftover)


def _remove(folder: Path) -> None:
    """Removes what is no longer wanted; what cannot go stays, which is no reason not to save."""
    try:
        if folder.is_symlink():
            _warn(f"{folder} was a link: {folder.resolve()} stays")
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        _warn(f"{folder} stays, it cannot be removed: {error}")


@cache
def _warn(text: str) -> None:
    """Once, not with every checkpoint."""
    logger.warning("%s", text)


def _best(present: Sequence[Path]) -> Path | None:
    """The checkpoint with the highest score, the newest of equals; None if none has one."""
    scores = [(score, folder) for folder in present if (score := _score(folder)) is not None]
    return max(scores, key=lambda pair: pair[0])[1] if scores else None


def _score(folder: Path) -> float | None:
    try:
        score = json.loads((folder / MANIFEST).read_text())["score"]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # damaged, which matters only to its reader
    return None if score is None else float(score)


def _write_manifest(folder: Path, step: int, score: float | None) -> None:
    """Lists every file with size and checksum, after each is safely on the disk."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        sync(path)
        name = path.relative_to(folder).as_posix()
        files[name] = {"bytes": path.stat().st_size, "sha256": sum_of(path)}
    content = {"step": step, "score": score, "files": files}
    _write_text(folder / MANIFEST, json.dumps(content, indent=2) + "\n")
    sync(folder)


def _write_text(path: Path, text: str) -> None:
    """Replaces a small file at once: a reader sees the old text or the new, nothing between."""
    with written_beside(path) as building:
        building.write_text(text)


def sum_of(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
