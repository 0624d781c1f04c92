"""Every way that new weights take: they arrive as they were, and how fast."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.data.shared import SharedMemory
from rlinf.models.weights import Layout, as_tensor, copy, join, write
from rlinf.selftest.check import Found, Scope, require
from rlinf.selftest.timing import in_turns
from rlinf.workers import device_memory

_WIDTH = 1024
_LAYERS = {False: 16, True: 512}
"""Matrices of the weights that are sent, with and without `--full`: 34 MB and 1.1 GB in bf16."""
_SHARED = {False: 2**28, True: 2**30}
"""Bytes that go from GPU memory to GPU memory."""
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


def within_a_gpu(scope: Scope) -> Found:
    """From one process to another on the same GPU, without a copy to the host, as they were.

    The other process is a copy of this one, which has touched no GPU.
    """
    size = _SHARED[scope.full]
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    other = context.Process(target=_export, args=(there, size, scope.device), daemon=True)
    other.start()
    there.close()  # so that an end of the other process is noticed
    try:
        opened = device_memory.attach(here.recv())
        mine = torch.empty(size, dtype=torch.uint8, device=scope.device)
        seconds = in_turns({"copy": lambda: mine.copy_(opened)}, _ROUNDS, scope.device)["copy"]
        require(torch.equal(mine, _pattern(size, scope.device)), "other numbers arrived")
    finally:
        other.kill()  # it waits to be ended
        other.join()
    speed = size / seconds / 1e9
    return Found(f"process to process: {speed:.3g} GB/s", {"gb_per_second": speed})


def _export(pipe: Any, size: int, device: str) -> None:
    given = _pattern(size, device)
    pipe.send(device_memory.export(given))
    pipe.recv()  # until it is ended: its memory must stay while the other process reads it


def _pattern(size: int, device: str) -> Tensor:
    return (torch.arange(size, device=device) % 251).to(torch.uint8)


def between_gpus(scope: Scope) -> Found:
    """From the memory of one GPU to that of another, and back, as they were."""
    size = _SHARED[scope.full]
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
