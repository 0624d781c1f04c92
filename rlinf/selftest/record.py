"""A result that can be judged later: numbers with command, commit, machine and versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import psutil

from rlinf import devices
from rlinf.config.machine import this_machine

_BEGAN = psutil.cpu_times()
_PACKAGES = (
    *("rlinf", "torch", "ray", "numpy", "transformers", "mani_skill", "sapien"),
    *("hf-libero", "mujoco", "robosuite"),
)
_ROOT = Path(__file__).parents[2]


def record(numbers: dict[str, Any], command: str) -> dict[str, Any]:
    """The numbers, and what they were measured with."""
    machine = this_machine()
    return {
        "command": command,
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu(),
            "cores": machine.node.cpu_slots,
            "accelerators": machine.node.accelerators,
            **_accelerators(machine.node.accelerators),
            "memory_gb": round(machine.memory_bytes / 1e9, 1),
            "system": platform.platform(),
            "load_average_at_the_end": [round(load, 2) for load in os.getloadavg()],
            "share_of_cores_taken_by_the_host": _taken_by_the_host(),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES if _is_installed(name)},
        },
        "numbers": numbers,
    }


def hardware(content: dict[str, Any]) -> str:
    """What stands for the machine in the name of a file."""
    machine = content["machine"]
    gpu, count = machine.get("accelerator"), machine["accelerators"]
    if gpu is not None:
        return "-".join([f"{count}-gpu{'s' * (count > 1)}", *re.findall(r"[a-z0-9]+", gpu.lower())])
    words = re.findall(r"[a-z0-9]+", machine["cpu"].lower())
    brand = [word for word in words if word not in ("r", "tm", "cpu", "processor")]
    return "-".join([f"{machine['cores']}-cores", *brand])


def rounded(value: Any) -> Any:
    """Floats with four significant digits: more would pretend a precision that is not there."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list | tuple) else value


def _accelerators(count: int) -> dict[str, Any]:
    """Name of the first, and the driver, as the driver's own tool says it."""
    if not count:
        return {}
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    name, _, driver = (answer.stdout.splitlines() or ["unknown, unknown"])[0].partition(", ")
    return {"accelerator": name, "driver": driver, devices.VARIABLE: _visible()}


def _visible() -> str | None:
    return os.environ.get(devices.VARIABLE)


def _is_installed(name: str) -> bool:
    return bool(list(distributions(name=name)))


def _commit() -> str | None:
    """Commit of this file's repository, marked where the package differs from it; None where it is
    in none.
    """

    def git(*arguments: str) -> str | None:
        command = ["git", *arguments]
        try:
            done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", "rlinf", "examples", "benchmarks/*.py")
    return commit and commit + (" with changes" if changed else "")


def _taken_by_the_host() -> float:
    """Of the time that this command was running; a virtual machine alone knows about it."""
    spent = {
        name: end - getattr(_BEGAN, name) for name, end in psutil.cpu_times()._asdict().items()
    }
    # Linux counts the time of guests as a part of the user's.
    total = sum(seconds for name, seconds in spent.items() if not name.startswith("guest"))
    return spent.get("steal", 0.0) / total if total else 0.0


def _cpu() -> str:
    """What the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return f"{psutil.cpu_count()} x {platform.machine()}"
