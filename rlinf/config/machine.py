"""What this machine offers, found without torch or Ray so that checks are quick."""

from __future__ import annotations

import math
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from rlinf import control_groups, devices
from rlinf.cluster.placement import Node

DEFAULT_CACHE = "~/.cache/rlinf"


@dataclass(frozen=True, slots=True)
class Machine:
    """One computer."""

    node: Node
    memory_bytes: int
    shared_bytes: int | None = None  # size of /dev/shm; None where there is none


def this_machine() -> Machine:
    """The machine this process runs on, within the limits of its container."""
    shared = Path("/dev/shm")
    shared_bytes = shutil.disk_usage(shared).total if shared.is_dir() else None
    memory = control_groups.memory_limit()
    return Machine(Node(_accelerators(), _cores()), memory, shared_bytes)


def cache_folder(named: str = DEFAULT_CACHE) -> Path:
    """Where files that can be made again are kept.

    Args:
        named: by the configuration; the default stands for `$RLINF_CACHE` where that is set.
    """
    default = os.environ.get("RLINF_CACHE") or DEFAULT_CACHE
    return Path(default if named == DEFAULT_CACHE else named).expanduser()


def _cores() -> int:
    """Cores this process may use: its affinity, or the quota of its container if smaller."""
    cores = len(os.sched_getaffinity(0))
    quota = control_groups.cores()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _accelerators() -> int:
    """NVIDIA devices, of those that CUDA_VISIBLE_DEVICES allows."""
    present = sum(bool(re.fullmatch(r"nvidia\d+", file.name)) for file in Path("/dev").iterdir())
    return devices.count(os.environ.get(devices.VARIABLE), present)
