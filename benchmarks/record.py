"""A result that can be judged later: numbers with command, commit, machine and versions."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import psutil

from rlinf.config.machine import this_machine

RESULTS = Path(__file__).parent / "results"
_BEGAN = psutil.cpu_times()
_PACKAGES = (
    *("rlinf", "torch", "ray", "numpy", "mani_skill", "sapien"),
    *("hf-libero", "mujoco", "robosuite"),
)


def record(numbers: dict[str, Any]) -> dict[str, Any]:
    """The numbers, and what they were measured with."""
    machine = this_machine()
    return {
        "command": " ".join(["python", *_relative(sys.argv)]),
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu(),
            "cores": machine.node.cpu_slots,
            "accelerators": machine.node.accelerators,
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


def _is_installed(name: str) -> bool:
    return bool(list(distributions(name=name)))


def write(case: str, content: dict[str, Any]) -> Path:
    """Writes `results/<case>-<hardware>-<date>.json`; a result of the same day is replaced."""
    machine = content["machine"]
    words = re.findall(r"[a-z0-9]+", machine["cpu"].lower())
    brand = [word for word in words if word not in ("r", "tm", "cpu", "processor")]
    hardware = "-".join([f"{machine['cores']}-cores", *brand])
    path = RESULTS / f"{case}-{hardware}-{content['date'][:10]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(_rounded(content), indent=1) + "\n")
    return path


def _relative(arguments: list[str]) -> list[str]:
    """The command as it is typed in the repository's folder."""
    return [str(Path("benchmarks") / Path(arguments[0]).name), *arguments[1:]]


def _commit() -> str:
    """Commit of this file's repository, marked where the package differs from it."""

    def git(*arguments: str) -> str:
        folder = Path(__file__).parents[1]
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "rlinf", "examples", "benchmarks/*.py")
    return git("rev-parse", "HEAD") + (" with changes" if changed else "")


def _taken_by_the_host() -> float:
    """Of the time that this command was running; a virtual machine alone knows about it."""
    spent = {
        name: end - getattr(_BEGAN, name) for name, end in psutil.cpu_times()._asdict().items()
    }
    # Linux counts the time of guests as a part of the user's.
    total = sum(seconds for name, seconds in spent.items() if not name.startswith("guest"))
    return spent.get("steal", 0.0) / total


def _cpu() -> str:
    """What the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return f"{psutil.cpu_count()} x {platform.machine()}"


def _rounded(value: Any) -> Any:
    """Floats with four significant digits: more would pretend a precision that is not there."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value
