"""How long new weights take from the actor to a rollout worker, against copying as many bytes.

The weights have the shapes of a 7B policy's. They travel as in a run: the actor worker's code
writes them, the rollout worker's code reads them, each in a process of its own. What they are
compared with is the least that two processes need: one copy into shared memory, and one out of it,
of one long array.

    python benchmarks/weight_sync.py --write
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import record
from meter import spread
from rlinf.data.shared import Handle, SharedMemory
from rlinf.models.weights import Layout, as_tensor, copy, join

RANK = 32
LAYERS = 32
LAYER = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008)]
"""Linear layers of one of the 32 layers of Llama-2 7B."""
DINO = [(3072, 1024), (1024, 1024), (4096, 1024), (1024, 4096)] * 24
SIGLIP = [(3456, 1152), (1152, 1152), (4304, 1152), (1152, 4304)] * 27
PROJECTOR = [(8704, 2176), (4096, 8704), (4096, 4096)]
HEAD = [(32064, 4096)]
TARGET = 0.8  # of a plain copy
LORA_TARGET_S = 0.1


class Case(NamedTuple):
    """Weights to send."""

    what: str
    layers: int  # of the language model; fewer than it has where memory is short
    adapters: bool = False  # the low-rank adapters alone, rather than all weights


CASES = {
    "lora-r32": Case("LoRA r32 on every linear layer of a 7B policy", LAYERS, adapters=True),
    "full-1/8": Case("an eighth of a 7B policy's layers, and its head", LAYERS // 8),
    "full-1/4": Case("a quarter of a 7B policy's layers, and its head", LAYERS // 4),
    "full": Case("a 7B policy: language model, both vision towers, projector", LAYERS),
}
"""By name. Both processes and the shared memory need about five times as much as the weights."""


class Shapes(nn.Module):
    """Parameters in the shapes of an OpenVLA, in bf16; nothing computes with them."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        shapes = LAYER * case.layers + HEAD
        if case.layers == LAYERS:
            shapes = DINO + SIGLIP + PROJECTOR + shapes
        if case.adapters:
            shapes = [half for rows, columns in shapes for half in ((RANK, columns), (rows, RANK))]
        for index, shape in enumerate(shapes):
            weight = nn.Parameter(torch.ones(shape, dtype=torch.bfloat16))
            self.register_parameter(f"weight{index}", weight)


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Rounds of both ways in turns, in two processes."""
    context = multiprocessing.get_context("fork")
    with _Receiver(context, name) as receiver:
        joined, layout = _weights(name)
        ours, plain = SharedMemory.create(layout.size), SharedMemory.create(layout.size)
        buffer, source = torch.from_numpy(ours.array), np.ones(layout.size, np.uint8)

        def send() -> None:
            copy(joined, buffer)

        def send_plainly() -> None:
            np.copyto(plain.array, source)

        seconds: dict[str, list[tuple[float, float]]] = {"sync": [], "copy": []}
        for turn in range(rounds + 1):
            for way, work, memory in (("sync", send, ours), ("copy", send_plainly, plain)):
                began = time.perf_counter()
                work()
                written = time.perf_counter()
                receiver.take(way, memory.handle)
                if turn > 0:  # the first maps the pages of both
                    seconds[way].append((written - began, time.perf_counter() - began))
    return {"what": CASES[name].what, **_numbers(layout, seconds)}


def table(cases: dict[str, dict[str, Any]]) -> Table:
    """One row per case."""
    shown = Table(title="weights from one process to another on this machine")
    for column in ("", "GB", "sync: min s", "median s", "GB/s", "plain copy: min s", "median s"):
        shown.add_column(column, justify="left" if not column else "right")
    shown.add_column(f"of plain copy (target {TARGET:.0%})", justify="right")
    for name, case in cases.items():
        shown.add_row(
            name,
            f"{case['bytes'] / 1e9:.2f}",
            *(f"{case['sync_s'][part]:.4f}" for part in ("min", "median")),
            f"{case['gb_per_s']:.2f}",
            *(f"{case['plain_copy_s'][part]:.4f}" for part in ("min", "median")),
            f"{case['share_of_plain_copy']:.0%}",
        )
    return shown


def _numbers(layout: Layout, seconds: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    sync, copy = ([total for _, total in seconds[way]] for way in ("sync", "copy"))
    # Turns that follow each other see the same load: their ratio says more than two medians.
    ratios = sorted(theirs / ours for ours, theirs in zip(sync, copy, strict=True))
    return {
        "bytes": layout.size,
        "parameters": len(layout.slots),
        "sync_s": spread(sync),
        "of_it_write_s": spread([write_s for write_s, _ in seconds["sync"]]),
        "plain_copy_s": spread(copy),
        "gb_per_s": layout.size / 1e9 / spread(sync)["median"],
        "share_of_plain_copy": ratios[len(ratios) // 2],
        "rounds": len(sync),
    }


def _weights(name: str) -> tuple[torch.Tensor, Layout]:
    """The weights as a worker holds them."""
    policy = Shapes(CASES[name])
    layout = Layout(policy)
    joined = join(policy, layout)
    assert joined is not None
    return joined, layout


class _Receiver:
    """The other process."""

    def __init__(self, context: ForkContext, name: str) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_receive, args=(theirs, name))

    def __enter__(self) -> _Receiver:
        self.process.start()
        self.pipe.recv()  # it has built its copy
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.send(None)
        self.process.join()

    def take(self, way: str, handle: Handle) -> None:
        """Lets it copy out of shared memory, one way or the other, and waits."""
        self.pipe.send((way, handle))
        self.pipe.recv()


def _receive(pipe: Connection, name: str) -> None:
    torch.set_num_threads(1)
    joined, layout = _weights(name)
    target = np.ones(layout.size, np.uint8)
    memories: dict[str, SharedMemory] = {}
    pipe.send(True)
    while (request := pipe.recv()) is not None:
        way, handle = request
        memory = memories.setdefault(way, SharedMemory.open(handle))
        if way == "sync":
            copy(as_tensor(memory.array), joined)
        else:
            np.copyto(target, memory.array)
        pipe.send(True)


def main() -> None:
    """Measures the cases, prints a table, and writes a result where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns (default %(default)s)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["lora-r32", "full-1/8"])
    parser.add_argument("--write", action="store_true", help="write a file into results/")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = {name: measure(name, arguments.rounds) for name in arguments.cases}
    numbers = {
        "cases": cases,
        "target_share_of_plain_copy": TARGET,
        "target_lora_r32_s": LORA_TARGET_S,
        "threads": 1,
    }
    console = Console()
    console.print(table(cases))
    if arguments.write:
        console.print(f"written to {record.write('weight-sync', record.record(numbers))}")


if __name__ == "__main__":
    main()
