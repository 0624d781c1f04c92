"""Ranks in processes of their own that meet over gloo, as the actor workers of a run do."""

from __future__ import annotations

import multiprocessing
import queue
import time
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")
Tell = Callable[[str | None], str]
TIMEOUT_S = 3600.0  # only what hangs takes so long


def in_ranks(world: int, work: Callable[[int, Tell], Result]) -> list[Result]:
    """What `work` returns in each of `world` processes.

    The processes are forks, so that each need not import torch again. `work` gets its rank, and a
    function that is given the address of the rendezvous by rank 0 and gives it to the others.
    """
    context = multiprocessing.get_context("fork")
    results, addresses = context.Queue(), context.Queue()

    def tell(address: str | None) -> str:
        if address is None:
            return str(addresses.get(timeout=TIMEOUT_S))
        for _ in range(world - 1):
            addresses.put(address)
        return address

    def run(rank: int) -> None:
        torch.set_num_threads(1)  # a fork has none of its parent's threads
        results.put((rank, work(rank, tell)))

    processes = [context.Process(target=run, args=(rank,)) for rank in range(world)]
    for process in processes:
        process.start()
    found: dict[int, Result] = {}
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while len(found) < world:
            try:
                rank, result = results.get(timeout=0.1)
                found[rank] = result
            except queue.Empty:
                failed = [rank for rank, p in enumerate(processes) if p.exitcode]
                assert not failed, f"ranks {failed} raised, see stderr"
                assert time.monotonic() < deadline, f"only ranks {sorted(found)} answered"
    finally:
        for process in processes:
            process.join(60 if len(found) == world else 0)
            process.kill()
    return [found[rank] for rank in range(world)]
