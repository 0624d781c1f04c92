"""Passes of the language model while it acts, compiled: `rollout.compile`.

`inductor` has torch.compile fuse the operations of a layer. `cuda_graphs` records the kernels of a
pass once for every shape and replays them, which saves launching them one by one. Either computes
what `Prismatic.read` does, up to rounding.

Letters: B rows, R rows of a recorded pass, T positions of a sequence, H width, D size of a head.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from rlinf.config.base import Compile
from rlinf.models.prismatic.attention import Attending, GrowingCache
from rlinf.models.prismatic.llama import Layer
from rlinf.models.prismatic.network import Prismatic, RunLayer, run_layer

MOST_GRAPHS = 64
"""Recorded passes that are kept; the one that was not used for the longest time goes first."""
_VARIANTS = 64
"""Forms of a layer that torch.compile may make: with and without a mask, of one row and of more."""
_WARM_UPS = 2  # passes before a recording, in which libraries allocate their workspaces

Function = Callable[..., Tensor]
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]
"""Runs a pass and returns what runs it again, and its output, which that writes anew."""
Stores = list[tuple[Tensor, Tensor]]


class CudaGraphRecorder:
    """Records kernels as CUDA graphs; their inputs and outputs stay where they are.

    What they compute in between shares memory: no two of them run at a time.
    """

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Runs `work` a few times and records it; see `Record`."""
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = work()
        return graph.replay, output


@dataclass(frozen=True, slots=True)
class _Graph:
    inputs: tuple[Tensor, ...]
    replay: Callable[[], None]
    output: Tensor


class Graphs:
    """Recorded passes, by what is computed and of which shapes."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._known: OrderedDict[Hashable, _Graph] = OrderedDict()

    def run(self, what: Hashable, function: Function, *inputs: Tensor) -> Tensor:
        """`function(*inputs)`, of which each input is [B, ...] and so is the output.

        Args:
            what: stands for the function; equal ones compute the same.
        """
        rows = len(inputs[0])
        recorded = padded(rows)
        key = (what, recorded, *((tuple(given.shape[1:]), given.dtype) for given in inputs))
        if key not in self._known:
            self._known[key] = self._recorded(function, recorded, inputs)
            if len(self._known) > MOST_GRAPHS:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        graph = self._known[key]
        for place, given in zip(graph.inputs, inputs, strict=True):
            place[:rows].copy_(given)
        graph.replay()
        return graph.output[:rows].clone()

    def forget(self) -> None:
        """Drops all, as memory that they read or write has moved."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)

    def _recorded(self, function: Function, rows: int, inputs: Sequence[Tensor]) -> _Graph:
        # Padding rows repeat the first one, so that their numbers are finite.
        more = [given[:1].expand(rows - len(given), *given.shape[1:]) for given in inputs]
        places = tuple(torch.cat(pair) for pair in zip(inputs, more, strict=True))
        replay, output = self._record(lambda: function(*places))
        return _Graph(places, replay, output)


def padded(rows: int) -> int:
    """R: the rows, rounded up so that there are four sizes between a power of two and the next."""
    step = 1 << max(0, rows.bit_length() - 3)
    return -(-rows // step) * step


class CompiledPasses:
    """What a policy uses in the place of its network's `read` while it acts."""

    def __init__(self, network: Prismatic, how: Compile, record: Record | None = None) -> None:
        """
        Args:
            record: None for CUDA graphs.
        """
        self.network = network
        self._run: RunLayer = run_layer
        if how in ("inductor", "both"):
            self._run = compile_layer()
        recorded = how in ("cuda_graphs", "both")
        self._graphs = Graphs(record or CudaGraphRecorder()) if recorded else None
        self._room: Tensor | None = None  # what caches are made of; graphs know its address

    def read(self, embedded: Tensor, attending: Attending, wanted: slice) -> Tensor:
        """As `Prismatic.read` of a whole sequence: [B, T, H] to [B, w, H]."""

        def work(embedded: Tensor, real: Tensor) -> Tensor:
            same = Attending(real, attending.padded, attending.causal)
            return self.network.read(embedded, same, wanted=wanted, run=self._run)

        if self._graphs is None:
            return work(embedded, attending.real)
        what = ("read", attending.padded, attending.causal, wanted.start, wanted.stop)
        return self._graphs.run(what, work, embedded, attending.real)

    def stores(self, embedded: Tensor, positions: int) -> Stores:
        """Memory for keys and values of each layer: [R, heads, T, D] of zeros or earlier numbers.

        Args:
            embedded: [B, n, H], of which it has format and device.
            positions: T.
        """
        architecture = self.network.architecture
        rows = len(embedded) if self._graphs is None else padded(len(embedded))
        size = architecture.width // architecture.heads
        shape = (architecture.layers, 2, rows, architecture.key_heads, positions, size)
        if self._room is None or self._room.numel() < prod(shape):
            if self._graphs is not None:
                self._graphs.forget()
            self._room = None  # before there is a larger one
            self._room = embedded.new_zeros(prod(shape))  # zeros: what is hidden must be finite
        keys_and_values = self._room[: prod(shape)].view(shape)
        return [(keys, values) for keys, values in keys_and_values]

    @staticmethod
    def caches(stores: Stores, rows: int) -> list[GrowingCache]:
        """Caches of the first B rows of some stores, for the pass over the prompt."""
        positions = stores[0][0].shape[2]
        return [GrowingCache(positions, (k[:rows], v[:rows])) for k, v in stores]

    def step(self, embedded: Tensor, real: Tensor, position: int, stores: Stores) -> Tensor:
        """As `Prismatic.step`: [B, 1, H] to [B, 1, H]."""
        at = torch.full((len(embedded), 1), position, device=embedded.device)

        def work(embedded: Tensor, real: Tensor, at: Tensor) -> Tensor:
            return self.network.step(embedded, real, at[0], stores, self._run)

        if self._graphs is None:
            return work(embedded, real, at)
        return self._graphs.run("step", work, embedded, real, at)


def compile_layer() -> Any:
    """`Layer.forward` by torch.compile: once for all layers, for any number of rows."""
    torch._dynamo.config.recompile_limit = max(_VARIANTS, torch._dynamo.config.recompile_limit)
    return torch.compile(Layer.forward, dynamic=True)
