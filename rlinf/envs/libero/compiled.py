"""robosuite's controllers are compiled by numba at their first use: some 20 seconds of a core.

numba keeps the result for later processes. Of those that begin together, one compiles and the
others wait for it; by itself numba would have each of them do the same work.
"""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np


def compile_controllers(cache: Path, compile_all: Callable[[], None] | None = None) -> None:
    """Returns when the controllers lie in numba's cache.

    Args:
        cache: numba's cache, which it must know since before its import.
        compile_all: fills the cache; by default with `functions`.
    """
    if _finished(cache):
        return
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "compiling").open("w") as lock:
        with suppress(OSError):  # a file system without locks: each compiles for itself
            fcntl.flock(lock, fcntl.LOCK_EX)  # ends with its holder, also if that is killed
        if not _finished(cache):
            (compile_all or _compile_all)()


def functions() -> Iterator[tuple[Any, tuple[np.ndarray, ...]]]:
    """What robosuite compiles of what a scene uses, with arguments of the types it gets there."""
    from robosuite.utils import control_utils, transform_utils

    matrix, joints = np.eye(3), np.zeros(7)
    yield transform_utils.mat2quat, (matrix,)
    yield transform_utils.quat2mat, (np.array([0.0, 0.0, 0.0, 1.0]),)
    yield control_utils.orientation_error, (matrix, matrix)
    mass, jacobian = np.eye(7, order="F"), np.eye(6, 7, order="F")
    yield control_utils.nullspace_torques, (mass, np.eye(7), joints, joints, joints)
    half = np.eye(3, 7, order="F")
    yield control_utils.opspace_matrices, (mass, jacobian, half, half)


_LAST = "opspace_matrices"


def _compile_all() -> None:
    for function, arguments in functions():
        function(*arguments)


def _finished(cache: Path) -> bool:
    version = "{}{}".format(*sys.version_info[:2])
    return any(cache.glob(f"*/*.{_LAST}-*.py{version}.nbi"))
