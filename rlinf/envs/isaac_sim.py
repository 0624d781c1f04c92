"""What `rlinf doctor` reports of a machine that simulators on Isaac Sim share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rlinf.devices import Gpu, gpus


def remarks() -> Iterator[str]:
    """A folder that is named and not there, and which GPUs draw what Isaac Sim draws."""
    folder = os.environ.get("ISAAC_PATH")
    if folder and not Path(folder).is_dir():
        yield f"ISAAC_PATH = {folder}: there is no such folder"
    yield from map(_rays, gpus())


def _rays(gpu: Gpu) -> str:
    able = (
        "has ray tracing (RTX)"
        if gpu.ray_tracing
        else "no ray tracing (RTX): cameras of Isaac Sim need it"
    )
    return f"{gpu.name}, driver {gpu.driver}: {able}"
