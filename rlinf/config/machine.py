"""What this machine offers, found without torch or Ray so that checks are quick."""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rlinf import control_groups, devices
from rlinf.config.placement import Node

DEFAULT_CACHE = "~/.cache/rlinf"
NVIDIA_SMI_S = 10.0  # longest wait for an answer of the driver


@dataclass(frozen=True, slots=True)
class Machine:
    """One computer."""

    node: Node
    memory_bytes: int
    shared_bytes: int | None = None  # size of /dev/shm; None where there is none
    accelerator_bytes: int | None = None  # memory of the smallest GPU; None where it is not known
    without_ray_tracing: tuple[str, ...] = ()  # names of its GPUs that have no units for it


def this_machine() -> Machine:
    """The machine this process runs on, within the limits of its container."""
    shared = Path("/dev/shm")
    shared_bytes = shutil.disk_usage(shared).total if shared.is_dir() else None
    memory = control_groups.memory_limit()
    accelerators = _accelerators()
    gpu_bytes = _accelerator_bytes() if accelerators else None
    gpus = devices.gpus() if accelerators else []
    poor = tuple(gpu.name for gpu in gpus if not gpu.ray_tracing)
    return Machine(Node(accelerators, _cores()), memory, shared_bytes, gpu_bytes, poor)


def _accelerator_bytes() -> int | None:
    """What the driver's own tool says."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return smallest_memory(answer.stdout)


def smallest_memory(listed: str) -> int | None:
    """Bytes of the GPU with the least memory of those that `nvidia-smi` lists, a number of MiB on
    each line; None where it lists none.
    """
    sizes = [int(line) for line in listed.split("\n") if line.strip().isdigit()]
    return min(sizes) * 2**20 if sizes else None


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
