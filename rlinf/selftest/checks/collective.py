"""Sums over several processes, one for each GPU: right, and how fast."""

from __future__ import annotations

import multiprocessing
import time
from statistics import median
from typing import Any

import torch
import torch.distributed as dist

from rlinf.selftest.check import Failed, Found, Scope, require
from rlinf.workers.process_group import ProcessGroup

_TIMEOUT_S = 120.0
_ROUNDS = 5
_CPU_RANKS = 2


def all_reduce(scope: Scope, backend: str) -> Found:
    """Sums of a tensor over all ranks: on every GPU (NCCL), or in two processes (Gloo).

    The processes are copies of this one, which has touched no GPU.
    """
    world = scope.gpus if backend == "nccl" else _CPU_RANKS
    size = (2**28 if backend == "nccl" else 2**22) * (4 if scope.full else 1)  # bytes
    context = multiprocessing.get_context("fork")
    addresses, answers = context.SimpleQueue(), context.SimpleQueue()
    others = [
        context.Process(target=_answer, args=(rank, world, backend, addresses, size, answers))
        for rank in range(1, world)
    ]
    for process in others:  # before this one has threads
        process.start()
    group = ProcessGroup(0, world)
    address = group.open_rendezvous("127.0.0.1")
    for _ in others:
        addresses.put(address)
    seconds, right = _sum(group, backend, address, size)
    for process in others:
        process.join(_TIMEOUT_S)
    codes = [process.exitcode for process in others]
    if any(code != 0 for code in codes):
        raise Failed(f"ranks ended with the exit codes {codes}")
    require(right and all(answers.get() for _ in others), "a rank has another sum")
    # What a ring sends and receives: Rabenseifner 2004, Optimization of Collective Reductions.
    speed = 2 * (world - 1) / world * size / seconds / 1e9
    text = f"{world} ranks, {size / 1e6:.0f} MB: {1e3 * seconds:.3g} ms, bus {speed:.3g} GB/s"
    return Found(text, {"ranks": world, "bytes": size, "seconds": seconds, "bus_gb_per_s": speed})


def _answer(rank: int, world: int, backend: str, addresses: Any, size: int, answers: Any) -> None:
    answers.put(_sum(ProcessGroup(rank, world), backend, addresses.get(), size)[1])


def _sum(group: ProcessGroup, backend: str, address: str, size: int) -> tuple[float, bool]:
    """Median seconds of a sum, and whether it is right."""
    device = torch.device("cuda", group.rank) if backend == "nccl" else torch.device("cpu")
    if backend == "nccl":
        torch.cuda.set_device(device)
    torch.set_num_threads(1)
    group.connect(address, _TIMEOUT_S)
    given = torch.full((size // 4,), float(group.rank + 1), device=device)
    taken = []
    for number in range(_ROUNDS + 1):  # the first opens the connections
        tensor = given.clone()
        dist.barrier()
        began = time.perf_counter()
        dist.all_reduce(tensor)
        if backend == "nccl":
            torch.cuda.synchronize()
        if number:
            taken.append(time.perf_counter() - began)
    expected = group.world * (group.world + 1) / 2
    right = bool((tensor == expected).all())
    group.leave()
    return median(taken), right
