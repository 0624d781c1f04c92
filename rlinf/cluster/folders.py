"""The folder in which Ray keeps its sockets and log files on this machine."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from rlinf.errors import UserError

_log = logging.getLogger(__name__)
NAMES = ("RAY_TMPDIR", "TMPDIR")  # environment variables, the first one counts most
ELSEWHERE = ("/tmp", "/var/tmp", "/dev/shm")
NEEDED_BYTES = 4 * 2**20
OPEN_TO_ALL = "r"
"""Ray's folder in that of a run. Ray lets all users read and write its own, so the one around it is
what keeps them out."""
LONGEST = 107 - len("/rlinf-0123/r/session_2026-11-28_21-04-33_000000_4194304/sockets/plasma_store")
"""Characters of a folder whose sockets have a path that the kernel accepts (107 bytes)."""


def temporary_folder(
    environment: Mapping[str, str], problem_of: Callable[[str], str | None]
) -> tuple[str, list[str]]:
    """The first folder that serves, of those the user names and those a system has.

    Args:
        problem_of: why a folder does not serve, or None.

    Returns:
        The folder, and what is wrong with each that was named before it.

    Raises:
        UserError: none serves.
    """
    named = [
        (f"{name} = {environment[name]}", environment[name])
        for name in NAMES
        if environment.get(name)
    ]
    problems: list[str] = []
    for words, folder in [*named, *((folder, folder) for folder in ELSEWHERE)]:
        problem = problem_of(folder)
        if problem is None:
            return folder, problems
        problems.append(f"{words}: {problem}")
    raise UserError(
        "Ray needs a folder for its sockets and log files, and none serves. " + "; ".join(problems),
        "export RAY_TMPDIR=FOLDER: one that you may write, with an absolute path of at most "
        f"{LONGEST} letters of ASCII",
    )


def problem_of(folder: str) -> str | None:
    """Why Ray cannot keep its files there, or None."""
    if not folder.startswith("/"):
        return "no absolute path"
    if not folder.isascii():
        return "not only letters of ASCII"
    if len(folder.rstrip("/")) > LONGEST:
        return f"{len(folder)} letters, and sockets allow {LONGEST}"
    if not Path(folder).is_dir():
        return "no folder"
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.posix_fallocate(probe.fileno(), 0, NEEDED_BYTES)
    except OSError as error:
        return str(error.strerror)
    return None


def choose() -> str:
    """The folder of this machine; warns where it is not the one the user named."""
    folder, problems = temporary_folder(os.environ, problem_of)
    if any(problem.startswith(NAMES) for problem in problems):
        _log.warning("Ray keeps its sockets and log files in %s (%s)", folder, "; ".join(problems))
    return folder


def plasma_folder(temporary: str) -> str | None:
    """Where Ray's shared memory lies if it cannot be in `/dev/shm`; None where it can."""
    shared = "/dev/shm"
    if os.access(shared, os.W_OK | os.X_OK):
        return None
    _log.warning(
        "%s cannot be written: large arrays pass between processes through %s, which is slower",
        shared,
        temporary,
    )
    return temporary
