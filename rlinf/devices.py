"""Which GPUs a process may use, by `CUDA_VISIBLE_DEVICES`, and whether CUDA comes up on them.

The variable lists devices by number (`4,5`) or by name (`GPU-<uuid>`, `MIG-<uuid>`), in the order
in which the process numbers them; the list ends before the first entry that names none, so an empty
one and `-1` mean no device at all. Index i of a node is the i-th device that is visible on it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlinf import installer
from rlinf.errors import UserError

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DRIVER = Path("/proc/driver/nvidia/version")
_QUERY = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")
_NUMBERS = ("nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader")
_QUERY_S = 10.0  # longest wait for an answer of the driver
# Compute capabilities of GPUs that have no units for ray tracing: V100, A100, H100, B200 and such.
_NO_RAYS = ("7.0", "7.2", "8.0", "9.0", "10.0", "10.3")


def listed(variable: str | None) -> list[str] | None:
    """The entries that count of a value of the variable; None where it is not set."""
    if variable is None:
        return None
    entries = [entry.strip() for entry in variable.split(",")]
    end = next((i for i, entry in enumerate(entries) if not _names_a_device(entry)), len(entries))
    return entries[:end]


def _names_a_device(entry: str) -> bool:
    return entry.isdigit() or entry.startswith(("GPU-", "MIG-"))


def count(variable: str | None, present: int) -> int:
    """Devices that are visible.

    Args:
        variable: its value, None where it is not set.
        present: GPUs of the machine or of the container; MIG devices are parts of one.
    """
    entries = listed(variable)
    if entries is None:
        return present
    if not present:
        return 0
    outside = (i for i, e in enumerate(entries) if e.isdigit() and int(e) >= present)
    return next(outside, len(entries))


def chosen(indices: Sequence[int], variable: str | None) -> str:
    """The variable of a process that is placed on some devices of a node.

    Args:
        indices: among the devices that are visible on the node; none for a process without a GPU.
        variable: of the node, None where it is not set.

    Raises:
        UserError: the node shows fewer devices.
    """
    entries = listed(variable)
    if entries is None:
        return ",".join(map(str, indices))
    if indices and max(indices) >= len(entries):
        raise UserError(
            f"{VARIABLE} = {variable} on this node: a process is placed on its device "
            f"{max(indices)}, counted from 0, and {len(entries)} are visible",
            "set cluster.accelerators_per_node to the number of devices that every node shows, or "
            f"start Ray there with another {VARIABLE}",
        )
    return ",".join(entries[index] for index in indices)


def device_of_process(wanted: str | None = None) -> str:
    """Where this process computes, as torch names it: `cuda:0`, or `cpu`.

    A process that was given GPUs computes on the first, and never on the CPU instead. One of which
    nothing was said takes a GPU if there is one.

    Args:
        wanted: a device that its placement names; None goes by the variable.

    Raises:
        UserError: it shall compute on a GPU, and CUDA does not come up.
    """
    import torch

    given = listed(os.environ.get(VARIABLE))
    if wanted is None:
        usable = torch.cuda.is_available() if given is None else bool(given)
        wanted = "cuda:0" if usable else "cpu"
    if wanted.startswith("cuda"):
        _require_cuda()
    return wanted


class Gpu(NamedTuple):
    """A kind of GPU of this machine, as the driver's own tool has it."""

    name: str
    capability: str  # for computing, as `9.0`
    driver: str  # version

    @property
    def ray_tracing(self) -> bool:
        """Whether it has units for ray tracing."""
        old = self.capability in _NO_RAYS or float(self.capability) < 7.0
        return not old and "GTX" not in self.name


def number_of(name: str) -> str | None:
    """The number that the driver's own tool has for a GPU, as Vulkan counts them too.

    Args:
        name: an entry of the variable, such as `GPU-<uuid>`, which may be cut short as there.

    Returns:
        None where the tool lists no such GPU, or more than one.
    """
    rows = [line.split(",") for line in _lines_of(_NUMBERS)]
    found = [number.strip() for number, uuid in rows if uuid.strip().startswith(name)]
    return found[0] if len(found) == 1 else None


def gpus() -> list[Gpu]:
    """The kinds of GPUs, each once; none where there is no driver of NVIDIA, or no answer."""
    lines = sorted(set(_lines_of(_QUERY)))
    return [Gpu(*(part.strip() for part in line.split(","))) for line in lines]


def _lines_of(query: Sequence[str]) -> list[str]:
    try:
        asked = subprocess.run(query, capture_output=True, text=True, check=True, timeout=_QUERY_S)
    except (OSError, subprocess.SubprocessError):
        return []
    return asked.stdout.strip().splitlines()


def _require_cuda() -> None:
    import torch

    if torch.cuda.is_available():
        return
    try:
        torch.cuda.init()
        reason = "no device is visible"
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch built without CUDA
        reason = str(error).splitlines()[0]
    raise cuda_problem(
        driver_version(_DRIVER.read_text() if _DRIVER.exists() else ""),
        torch.__version__,
        torch.version.cuda,
        reason,
    )


def driver_version(text: str) -> str | None:
    """Of the NVIDIA driver, from `/proc/driver/nvidia/version`; None where there is none."""
    found = re.search(r"Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)", text)
    return found[1] if found else None


def cuda_problem(
    driver: str | None, torch_version: str, built_for: str | None, reason: str
) -> UserError:
    """What to tell where a process was placed on a GPU and CUDA does not come up.

    Args:
        driver: version of the NVIDIA driver; None where none is loaded.
        built_for: CUDA version of torch; None for a build without.
        reason: what torch says.
    """
    if built_for is None:
        fix = (
            f"install a build of torch for CUDA: UV_TORCH_BACKEND=auto {installer.command()} with "
            "the arguments it had before"
            if installer.SCRIPT.is_file()
            else "install a build of torch for CUDA: with uv, UV_TORCH_BACKEND=auto uv pip install "
            "--reinstall-package torch torch"
        )
    elif driver is None:
        fix = (
            "install the NVIDIA driver, or start the container with its GPUs (docker run "
            "--gpus all); nvidia-smi has to list them"
        )
    else:
        fix = (
            f"nvidia-smi shows the newest CUDA that driver {driver} runs: below {built_for} update "
            "the driver or install a build of torch for that version; otherwise see that the "
            f"process may open /dev/nvidia* and that {VARIABLE} names devices that exist"
        )
    return UserError(
        "a process was placed on a GPU, and CUDA does not come up in it (driver "
        f"{driver or 'none'}, torch {torch_version}, built for "
        f"{f'CUDA {built_for}' if built_for else 'the CPU alone'}): {reason}",
        fix,
    )
