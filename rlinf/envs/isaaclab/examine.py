"""What `rlinf doctor` says of Isaac Sim without starting it: what is there, what could draw."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

INSTALL = (
    "install Isaac Sim there (isaacsim 6 for IsaacLab 3.0; 5.1, from NVIDIA's own index, for 2.3), "
    "export ACCEPT_EULA=Y PRIVACY_CONSENT=Y OMNI_KIT_ACCEPT_EULA=YES, and use a GPU with ray "
    "tracing (RTX): docs/source-en/benchmarks/isaaclab.md. IsaacLab 3.0 runs without it with "
    "env.*.init_params.physics=newton"
)
"""What to do where Isaac Sim is missing in the simulator's Python."""
_STUB = "isaacsim {} is a stub without isaacsim-kernel: it runs nothing"
_INDEX = "on the package index 5.1 and older are stubs that fetch from NVIDIA's own index"
# Compute capabilities of GPUs that have no units for ray tracing: V100, A100, H100, B200 and such.
_NO_RAYS = ("7.0", "7.2", "8.0", "9.0", "10.0", "10.3")
_QUERY = ("nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")


def remarks(versions: Mapping[str, str | None]) -> Iterator[str]:
    """Findings in words.

    Args:
        versions: of packages in the simulator's Python; None: not installed.
    """
    installed = versions["isaacsim"]
    if installed is None:
        yield f"no Isaac Sim: Newton is used ({_INDEX})"
    elif versions["isaacsim-kernel"] is None:
        yield f"{_STUB.format(installed)} ({_INDEX})"
    else:
        yield f"isaacsim {installed} is no stub"
    folder = os.environ.get("ISAAC_PATH")
    if folder and not Path(folder).is_dir():
        yield f"ISAAC_PATH = {folder}: there is no such folder"
    yield from map(_rays, _gpus())


def _rays(gpu: str) -> str:
    """Whether a GPU draws what Isaac Sim draws."""
    name, capability, driver = (part.strip() for part in gpu.split(","))
    lacks = capability in _NO_RAYS or float(capability) < 7.0 or "GTX" in name
    able = (
        "no ray tracing (RTX): cameras of Isaac Sim need it" if lacks else "has ray tracing (RTX)"
    )
    return f"{name}, driver {driver}: {able}"


def _gpus() -> list[str]:
    """Lines of nvidia-smi: name, compute capability, driver."""
    try:
        asked = subprocess.run(_QUERY, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []  # no GPU of NVIDIA, or no driver; `machine` says so
    return sorted(set(asked.stdout.strip().splitlines()))
