"""Files that can be made again: one process makes them, others wait; damaged ones are made anew."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_S = 0.2


@contextmanager
def one_maker(target: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Inside it no other process makes `target`, which may be there by then.

    A process that is killed keeps no other waiting, and what it has left is removed. Where a file
    system has no locks each process makes the target for itself.

    Args:
        on_wait: called every `POLL_S` seconds while another process makes it; may raise.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    path = _lock_of(target)
    lock = _locked(path, on_wait)
    try:
        if lock is not None:
            _remove_leftovers(target)
        yield
    finally:
        if lock is not None:
            path.unlink(missing_ok=True)  # while it is held: a waiting process opens a new one
            os.close(lock)


def _locked(path: Path, on_wait: Callable[[], None]) -> int | None:
    """The descriptor of a locked file; None where the file system has no locks."""
    while True:
        lock = _opened(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(lock).st_ino:
                return lock
            os.close(lock)  # its last holder has removed it
        except BlockingIOError:
            os.close(lock)
            on_wait()
            time.sleep(POLL_S)
        except OSError:
            os.close(lock)
            path.unlink(missing_ok=True)
            return None


def discard(folder: Path) -> None:
    """Removes a folder and its seal."""
    _seal_of(folder).unlink(missing_ok=True)
    shutil.rmtree(folder)


def seal(folder: Path) -> None:
    """Notes beside a complete folder what is in it."""
    text = "".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items())
    _seal_of(folder).write_text(text)


def damage(folder: Path) -> str | None:
    """What is wrong with a folder, or None. One without a seal, of an earlier version, is whole."""
    if not folder.is_dir():
        return "it is missing"
    noted = _seal_of(folder)
    if not noted.is_file():
        return None
    lines = [line.split("  ", 1) for line in noted.read_text(errors="replace").splitlines()]
    sealed = {line[-1]: line[0] for line in lines}
    found = _digests(folder)
    differing = sorted(n for n in sealed.keys() | found if sealed.get(n) != found.get(n))
    return f"{differing[0]} is not as it was written" if differing else None


def _remove_leftovers(target: Path) -> None:
    for path in target.parent.glob(f".*{target.name}*"):
        if path not in (_seal_of(target), _lock_of(target)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lock_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _seal_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.sha256")


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            name = path.relative_to(folder).as_posix()
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _opened(path: Path) -> int:
    """For reading alone, as it may belong to another user of a shared cache."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
