"""A user without a home that can be written, as in `docker run -u 1234`, gets a folder that serves.

Simulators, PyTorch and Hugging Face keep caches below the home folder, each in a place of its own;
so this is decided once, in environment variables that all of them and all sub-processes read.
"""

from __future__ import annotations

import os
import pwd
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from rlinf.config.machine import DEFAULT_CACHE, cache_folder
from rlinf.errors import UserError

_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # where Python looks for the name of the user


def settle(environment: MutableMapping[str, str], temporary: Path | None = None) -> list[str]:
    """Sets `HOME`, `RLINF_CACHE` and `USER` where what they stand for is missing or no use.

    Args:
        environment: of this process.
        temporary: folder of temporary files; None for the one of the system.

    Returns:
        What the user should know of it.

    Raises:
        UserError: `RLINF_CACHE` names a folder that cannot be made, or no other serves.
    """
    named = environment.get("RLINF_CACHE")
    if named and not _can_make(Path(named).expanduser()):
        raise UserError(
            f"RLINF_CACHE = {named}: this folder cannot be written",
            "name one that you may write, or unset it for ~/.cache/rlinf",
        )
    if not any(environment.get(name) for name in _NAMES) and _entry() is None:
        environment["USER"] = f"uid{os.getuid()}"
    home = environment.get("HOME") or _entry()
    if home is None or not Path(home).is_dir() or (home == "/" and not _can_make(Path("/.cache"))):
        own = _own_folder(temporary)
        environment["HOME"] = str(own)
        why = f"HOME = {home} is no folder to write to" if home else "this user has no home folder"
        return [f"{why}: caches are kept in {own}; export HOME to choose another folder"]
    if not named and not _can_make(Path(home, ".cache", "rlinf")):
        cache = _own_folder(temporary) / "cache"
        environment["RLINF_CACHE"] = str(cache)
        return [
            f"{home}/.cache/rlinf cannot be written: caches are kept in {cache}; "
            "export RLINF_CACHE to choose another folder"
        ]
    return []


def private_cache(part: str, temporary: Path | None = None) -> Path:
    """A folder of the cache that no other user can write, made where there is none.

    For what a library executes when it finds it there: numba's and Mesa's compiled code. A cache
    that several users share does not serve for that, then it is one of this user's own.

    Args:
        part: its path below the cache.
        temporary: folder of temporary files; None for the one of the system.
    """
    for cache in (cache_folder(), Path(DEFAULT_CACHE).expanduser()):
        folder = cache / part
        if _can_make(folder) and not _others_write(cache):
            folder.mkdir(parents=True, exist_ok=True)
            if not _others_write(folder):
                return folder
    folder = _own_folder(temporary) / "cache" / part
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _others_write(folder: Path) -> bool:
    """Whether another user can write a folder, or put one of his in its place.

    In a folder with the sticky bit, as `/tmp` has it, only its owner can replace an entry. A group
    with the number of the user is that user's own.
    """
    for each in {folder, *folder.absolute().parents, *folder.resolve().parents}:
        if not each.exists():
            continue
        status = each.stat()
        groups = status.st_mode & stat.S_IWGRP and status.st_gid not in (0, os.getuid())
        open_to_others = groups or status.st_mode & stat.S_IWOTH
        sticky = status.st_mode & stat.S_ISVTX and each != folder
        if status.st_uid not in (0, os.getuid()) or (open_to_others and not sticky):
            return True
    return False


def _entry() -> str | None:
    """The home of this user in the list of users; None for one without an entry."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return None


def _can_make(folder: Path) -> bool:
    """Whether a folder exists, or can be made, and be written."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _own_folder(temporary: Path | None) -> Path:
    """A folder that only this user can write, made where there is none."""
    try:
        folder = (temporary or Path(tempfile.gettempdir())) / f"rlinf-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise UserError(
            f"there is no home folder, nor one for temporary files: {error}",
            "export HOME to a folder that you may write",
        ) from error
    if not folder.is_symlink() and status.st_uid == os.getuid() and not status.st_mode & 0o077:
        return folder
    raise UserError(
        f"there is no home folder to write to, and {folder} is not yours alone",
        "export HOME to a folder that you may write",
    )
