"""How long something takes on a device, and what the device can do at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch


def finish(device: str) -> None:
    """Waits for what a GPU was given to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def in_turns(
    runs: Mapping[str, Callable[[], object]],
    rounds: int,
    device: str,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each, measured in turns so that a busy machine is busy for all.

    Args:
        clock: of the seconds; `time.process_time` counts those of this process on all cores.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):  # the first round warms up
        for name, run in runs.items():
            finish(device)
            began = clock()
            run()
            finish(device)
            if number:
                seconds[name].append(clock() - began)
    return {name: median(values) for name, values in seconds.items()}


def peaks(
    dtype: torch.dtype,
    rounds: int,
    device: str,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """What this device reaches in one large matrix product and one large copy: FLOP/s, bytes/s."""
    size = 8192 if device.startswith("cuda") else 1024
    matrix = torch.randn(size, size, dtype=dtype, device=device)
    block = torch.empty(size * size * 4, dtype=torch.uint8, device=device)
    target = torch.empty_like(block)
    runs: dict[str, Callable[[], Any]] = {
        "product": lambda: matrix @ matrix,
        "copy": lambda: target.copy_(block),
    }
    seconds = in_turns(runs, rounds, device, clock)
    return 2.0 * size**3 / seconds["product"], 2.0 * block.numel() / seconds["copy"]
