"""Files and folders that appear whole or not at all, and what a disk refuses in a sentence."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import gethostname

from rlinf.errors import UserError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""A full or read-only disk, a quota, a limit: never the answer of a network."""
REFUSALS = FULL | {
    *(errno.EIO, errno.EACCES, errno.EPERM),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
}
"""And a broken disk, rights, and paths that cannot be: what else a user mends."""


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """A path beside `target` to write a file or folder to, which then takes its place.

    All of it is on the disk before it does; some file systems notice only then that it does not
    fit. If the block fails nothing is left, and what was at `target` is as it was. What a process
    left that was killed in the middle, the next one here removes.
    """
    mine = target.with_name(f".{target.name}.{gethostname()}-{os.getpid()}")
    building, old = (mine.with_name(f"{mine.name}.{kind}") for kind in ("tmp", "old"))
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in (building, *_leftovers(target)):
        _remove(path)
    try:
        yield building
        for path in (*building.rglob("*"), building):
            sync(path)
        if building.is_dir() and target.is_dir():
            target.rename(old)
        building.replace(target)
        sync(target.parent)
    finally:
        _remove(building)
        _remove(old)


@contextmanager
def refusals_told(
    what: str, place: Path, fix: str, kinds: frozenset[int] = REFUSALS
) -> Iterator[None]:
    """Turns what a disk refuses in the block into an error of the user.

    Args:
        what: is written, as the beginning of a sentence.
        place: file or folder, maybe to be made.
        fix: what the user does about it.
        kinds: numbers of the errors that are meant.

    Raises:
        UserError: with the path, the reason and the space that is free.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.errno not in kinds:
            raise
        raise UserError(
            f"{what} cannot be written to {place}: {os.strerror(error.errno)}; {free(place)}", fix
        ) from error


def free(place: Path) -> str:
    """How much is free where `place` is or would be."""
    existing = next(path for path in (place, *place.absolute().parents) if path.exists())
    count = shutil.disk_usage(existing).free
    unit, size = ("GB", 1e9) if count >= 1e9 else ("MB", 1e6)
    return f"{count / size:.1f} {unit} are free there"


def reserve(path: Path) -> None:
    """Gives an existing file the blocks of its whole size.

    Without them, a write to a mapping of the file kills the process when the disk is full.

    Raises:
        OSError: there is not so much space.
    """
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, os.fstat(file.fileno()).st_size))


def sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _leftovers(target: Path) -> list[Path]:
    """What processes of this machine that run no more have written beside `target`."""
    begin = re.escape(f".{target.name}.{gethostname()}-")
    name = re.compile(rf"{begin}(\d+)\.(tmp|old)")
    found = [(path, name.fullmatch(path.name)) for path in target.parent.iterdir()]
    return [path for path, match in found if match and not _runs(int(match[1]))]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
