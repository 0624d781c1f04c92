"""Every way that new weights take: they arrive as they were, and how fast."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.data.shared import SharedMemory
from rlinf.models.weights import Layout, as_tensor, copy, join, write
from rlinf.selftest.check import Found, Scope, require
from rlinf.selftest.timing import in_turns

_WIDTH = 1024
_LAYERS = {False: 16, True: 512}
"""Matrices of the weights that are sent, with and without `--full`: 34 MB and 1.1 GB in bf16."""
_ROUNDS = 3


def paths(scope: Scope) -> Found:
    """Actor to shared memory, shared memory to rollout, and both beside a plain copy."""
    device = torch.device(scope.device)
    trained, acting = _policy(scope), _policy(scope)
    layout = Layout(acting)
    joined = join(acting, layout)
    assert joined is not None
    joined = joined.to(device)
    trained = trained.float().to(device)  # as they are trained
    memory = SharedMemory.create(layout.size)
    reader = SharedMemory.open(memory.handle)
    buffer, plain = torch.from_numpy(memory.array), np.empty(layout.size, np.uint8)
    runs: dict[str, Callable[[], object]] = {
        "actor to shared memory": lambda: write(trained, layout, buffer, lambda t: t),
        "shared memory to rollout": lambda: copy(as_tensor(reader.array), joined),
        "plain copy": lambda: np.copyto(plain, reader.array),
    }
    seconds = in_turns(runs, _ROUNDS, scope.device)
    sent = dict(trained.named_parameters())
    for slot in layout.slots:
        arrived = layout.place(joined, slot)
        wanted = sent[slot.name].detach().to(slot.dtype)
        require(torch.equal(arrived, wanted), f"{slot.name} arrived with other numbers")
    speeds = {name: layout.size / taken / 1e9 for name, taken in seconds.items()}
    numbers = {"bytes": layout.size, "gb_per_second": speeds}
    told = ", ".join(f"{name} {speed:.2g}" for name, speed in speeds.items())
    return Found(f"{told} GB/s", numbers)


def between_gpus(scope: Scope) -> Found:
    """From the memory of one GPU to that of another, and back, as they were."""
    size = 2**30 if scope.full else 2**28
    there = torch.randint(256, (size,), dtype=torch.uint8, device="cuda:0")
    here: Tensor = torch.empty_like(there, device="cuda:1")
    seconds = in_turns({"copy": lambda: here.copy_(there)}, _ROUNDS, "cuda:1")["copy"]
    require(torch.equal(here.cpu(), there.cpu()), "other numbers arrived")
    direct = torch.cuda.can_device_access_peer(1, 0)
    speed = size / seconds / 1e9
    how = "directly" if direct else "through host memory"
    return Found(
        f"GPU 0 to GPU 1 {how}: {speed:.3g} GB/s", {"gb_per_second": speed, "peer": direct}
    )


def _policy(scope: Scope) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    layers = [nn.Linear(_WIDTH, _WIDTH, bias=False) for _ in range(_LAYERS[scope.full])]
    for layer in layers:
        nn.init.normal_(layer.weight, generator=generator)
    return nn.Sequential(*layers).bfloat16()
