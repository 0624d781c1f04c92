"""What this machine offers, found without torch or Ray so that checks are quick."""

from __future__ import annotations

import math
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from rlinf.cluster.placement import Node


@dataclass(frozen=True, slots=True)
class Machine:
    """One computer."""

    node: Node
    memory_bytes: int
    shared_bytes: int | None = None  # size of /dev/shm; None where there is none


def this_machine() -> Machine:
    """The machine this process runs on, within the limits of its container."""
    limit = _cgroup_number("memory.max")
    total = psutil.virtual_memory().total
    memory = min(total, int(limit)) if limit is not None else total
    shared = Path("/dev/shm")
    shared_bytes = shutil.disk_usage(shared).total if shared.is_dir() else None
    return Machine(Node(_accelerators(), _cores()), memory, shared_bytes)


def cache_folder() -> Path:
    """Where files that can be made again are kept: `$RLINF_CACHE`, or `~/.cache/rlinf`."""
    return Path(os.environ.get("RLINF_CACHE") or "~/.cache/rlinf").expanduser()


def _cores() -> int:
    """Cores this process may use: its affinity, or the quota of its container if smaller."""
    cores = len(os.sched_getaffinity(0))
    quota = _cgroup_number("cpu.max")
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _cgroup_number(name: str) -> float | None:
    """A limit of the container (control group v2): bytes, or cores for `cpu.max`."""
    file = Path("/sys/fs/cgroup") / name
    if not file.is_file():
        return None
    words = file.read_text().split()
    if words[0] == "max":
        return None
    return int(words[0]) / (int(words[1]) if len(words) > 1 else 1)


def _accelerators() -> int:
    """NVIDIA devices, of those that CUDA_VISIBLE_DEVICES allows."""
    devices = sum(bool(re.fullmatch(r"nvidia\d+", file.name)) for file in Path("/dev").iterdir())
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return devices
    named = [part for part in allowed.split(",") if part.strip() not in ("", "-1")]
    return min(devices, len(named))
