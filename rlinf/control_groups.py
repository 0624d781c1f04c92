"""What the control groups of this process leave it: memory and cores, version 1 and 2.

A container or a batch system puts limits on a group of processes; the kernel ends processes of a
group that needs more memory than that, however much the machine has. A limit of any group around
that of this process counts too. Source: cgroups(7), and the kernel's pages on both versions.

Without packages: simulators that run under a Python of their own look, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the machine, or of the tightest group around this process."""

    total: int  # bytes
    available: int  # bytes that can still be had; caches of files make room

    @property
    def percent(self) -> float:
        """How much is in use."""
        return 100.0 * (1 - self.available / self.total)


def memory(root: Path = ROOT) -> Memory:
    """The tightest of the machine and of each limited group, by what is available."""
    machine = _of_machine(root)
    found = [machine]
    for group in _groups(root, "memory"):
        limit = _memory_limit(group)
        used = _number(group, "memory.current", "memory.usage_in_bytes")
        if limit is not None and used is not None and limit < machine.total:
            free = min(limit, max(0, limit - used + _inactive_files(group)))
            found.append(Memory(limit, free))
    return min(found, key=lambda memory: memory.available)


def memory_limit(root: Path = ROOT) -> int:
    """Bytes that this process and those around it may use together."""
    groups = _groups(root, "memory")
    limits = [limit for group in groups if (limit := _memory_limit(group)) is not None]
    return min([_of_machine(root).total, *limits])


def cores(root: Path = ROOT) -> float | None:
    """Cores' worth of time per second that this process may use; None where nothing limits it."""
    found = [quota for group in _groups(root, "cpu") if (quota := _quota(group)) is not None]
    return min(found, default=None)


@cache
def _groups(root: Path, controller: str) -> tuple[Path, ...]:
    """The folders of a controller's group that this process is in, and of all groups around it."""
    paths = dict(_memberships(root))
    found: list[Path] = []
    for kind, controllers, inside, mount in _mounts(root):
        one = controller if kind == "cgroup" and controller in controllers else ""
        if (kind == "cgroup" and not one) or one not in paths:
            continue
        # A container may see its group's full path, and a mount that begins at it.
        shown = paths[one]
        relative = shown.removeprefix(inside) if inside != "/" else shown
        beyond = ".." in relative  # the group is not below what is mounted here
        group = mount if beyond else mount / relative.lstrip("/")
        while not group.is_dir():
            group = group.parent
        around = (group, *group.parents)
        found += around[: around.index(mount) + 1] if mount in around else (mount,)
    return tuple(found)


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    """Controller ("" for version 2) and group of this process: `4:cpu,cpuacct:/docker/0123`."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _mounts(root: Path) -> Iterator[tuple[str, list[str], str, Path]]:
    """Type, options, the group that is mounted, and where: `36 25 0:31 / /sys/fs/cgroup/memory rw,
    relatime - cgroup cgroup rw,memory`.
    """
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            inside, mount = before.split(" ")[3:5]
            yield kind, options.split(","), inside, root / mount.lstrip("/")


def _quota(group: Path) -> float | None:
    words = _words(group / "cpu.max") or [
        *_words(group / "cpu.cfs_quota_us"),
        *_words(group / "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or words[0] in ("max", "-1"):
        return None
    return int(words[0]) / int(words[1])


def _of_machine(root: Path) -> Memory:
    found = {}
    for line in _lines(root / "proc/meminfo"):
        name, value, *_ = line.replace(":", " ").split()
        found[name] = 1024 * int(value)
    return Memory(found["MemTotal"], found["MemAvailable"])


def _memory_limit(group: Path) -> int | None:
    limit = _number(group, "memory.max", "memory.limit_in_bytes")
    return limit or None  # no process runs with none at all


def _number(group: Path, *names: str) -> int | None:
    """The value of the first of these files that is there; None for `max`."""
    for name in names:
        words = _words(group / name)
        if words:
            return None if words[0] == "max" else int(words[0])
    return None


def _inactive_files(group: Path) -> int:
    """Bytes of caches that the kernel gives up first."""
    counts = dict(line.split(" ", 1) for line in _lines(group / "memory.stat"))
    return int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))


def _words(path: Path) -> list[str]:
    return [word for line in _lines(path) for word in line.split()]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):  # no such controller, or not for us to read
        return []
