"""CPU and wall seconds of a group of processes, by what the processes are."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import psutil

T = TypeVar("T")

Snapshot = Mapping[tuple[int, float], tuple[str, float]]  # (pid, start) -> role, CPU seconds

LAUNCHER = "launcher"
_RAY_WORKER = re.compile(r"ray::(\w+)")  # Ray writes the worker's class into the process title
_DAEMONS = ("raylet", "gcs_server")


@dataclass(frozen=True, slots=True)
class Spent:
    """What `count` repetitions of some work took."""

    count: int
    wall_s: float
    cpu_s: Mapping[str, float]  # user + system, by role

    @property
    def wall_each_s(self) -> float:
        """Wall seconds of one repetition."""
        return self.wall_s / self.count

    @property
    def cpu_each_s(self) -> float:
        """CPU seconds of one repetition, all processes together."""
        return sum(self.cpu_s.values()) / self.count


def spend(
    work: Callable[[], T], count: int = 1, root: int | None = None, leave_out: int | None = None
) -> tuple[T, Spent]:
    """Does `work`, which is `count` repetitions of something, and says what it took.

    Args:
        root: the process whose CPU seconds count, with all its descendants; None for this one.
        leave_out: a descendant that does not count, nor do its own.
    """
    root = os.getpid() if root is None else root
    before, began = snapshot(root, leave_out), time.perf_counter()
    result = work()
    wall, after = time.perf_counter() - began, snapshot(root, leave_out)
    cpu: defaultdict[str, float] = defaultdict(float)
    for process, (role, seconds) in after.items():
        cpu[role] += seconds - before.get(process, (role, 0.0))[1]
    return result, Spent(count, wall, dict(cpu))


def snapshot(root: int, leave_out: int | None = None) -> Snapshot:
    """CPU seconds so far of a process and its descendants.

    A process that ended and was reaped between two snapshots is not seen; workers live longer.
    """
    found: dict[tuple[int, float], tuple[str, float]] = {}
    pending = [(psutil.Process(root), LAUNCHER if root == os.getpid() else "process")]
    while pending:
        process, role = pending.pop()
        try:
            with process.oneshot():
                times = process.cpu_times()
                found[process.pid, process.create_time()] = (role, times.user + times.system)
                children = process.children()
            pending += [(c, _role(c, role)) for c in children if c.pid != leave_out]
        except psutil.NoSuchProcess:
            continue  # it ended between two lines
    return found


def _role(process: psutil.Process, parent: str) -> str:
    """A Ray worker's class, a daemon of Ray, or `<parent>'s processes`."""
    command = process.cmdline()
    worker = _RAY_WORKER.match(command[0]) if command else None
    if worker:
        return "idle workers of Ray" if worker[1] == "IDLE" else worker[1]
    if process.name() in _DAEMONS:
        return process.name()
    if parent.endswith("'s processes"):
        return parent
    return "other of Ray" if parent in (LAUNCHER, *_DAEMONS) else f"{parent}'s processes"


def shares(spent: Sequence[Spent]) -> dict[str, float]:
    """CPU seconds of one repetition by role, over all measurements together, largest first."""
    total: defaultdict[str, float] = defaultdict(float)
    for one in spent:
        for role, seconds in one.cpu_s.items():
            total[role] += seconds
    repetitions = sum(one.count for one in spent)
    ordered = sorted(total.items(), key=lambda item: -item[1])
    return {role: seconds / repetitions for role, seconds in ordered}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, median and 90th percentile."""
    ordered = sorted(values)
    return {
        "min": ordered[0],
        "median": median(ordered),
        "p90": ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))],
    }
