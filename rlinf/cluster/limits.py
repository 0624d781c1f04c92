"""Limits of this machine and of its user that keep Ray from starting."""

from __future__ import annotations

import os
import resource

import psutil

from rlinf.errors import UserError

NEEDED_THREADS = 300
"""Ray's own processes start 150 threads, and each worker some 30 before it does anything."""


def check() -> None:
    """Refuses a machine where this user may not start as many threads as Ray needs."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    problem = problem_of(limit, _threads_of_user(), os.geteuid() == 0)
    if problem is not None:
        raise UserError(*problem)


def problem_of(limit: int, running: int, is_root: bool) -> tuple[str, str] | None:
    """What is wrong with a limit of processes and threads, and what to do about it.

    Args:
        limit: of this user; RLIM_INFINITY for none.
        running: threads that this user has.
        is_root: the kernel does not limit root.
    """
    if is_root or limit == resource.RLIM_INFINITY or limit - running >= NEEDED_THREADS:
        return None
    return (
        f"ulimit -u = {limit}: so many processes and threads this user may have, and has {running} "
        f"of them; Ray and the workers start at least {NEEDED_THREADS}",
        "raise the limit (ulimit -u 4096, or docker run --pids-limit / --ulimit nproc)",
    )


def explanation(address_space: int | None = None) -> tuple[str, str] | None:
    """A limit that Ray's processes may have run into, and what to do about it.

    Args:
        address_space: in bytes, or RLIM_INFINITY; None asks for the one of this process.
    """
    if address_space is None:
        address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space == resource.RLIM_INFINITY:
        return None
    return (
        f"The address space is limited (ulimit -v = {address_space // 1024}), and Ray reserves "
        "more than it uses",
        "lift the limit: ulimit -v unlimited; a container or job limit of memory serves better",
    )


def daemons_alive() -> bool:
    """Whether Ray's two main processes, which this one has started, still run."""
    running = {
        child.name()
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE
    }
    return {"gcs_server", "raylet"} <= running


def _threads_of_user() -> int:
    user = os.getuid()
    found = psutil.process_iter(["uids", "num_threads"])
    return sum(
        process.info["num_threads"]
        for process in found
        if process.info["uids"] is not None and process.info["uids"].real == user
    )
