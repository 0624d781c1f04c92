"""The micro-batches in which a training rank computes samples, of a size that fits into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import TypeVar

import numpy as np
import torch

from rlinf.config.schema import ActorConfig
from rlinf.data import layout
from rlinf.errors import UpdateGivenUp
from rlinf.workers.memory import BatchSizeLimit, bytes_on, memory_table
from rlinf.workers.optimizer import Optimizer
from rlinf.workers.policy_parallel import ParallelPolicy
from rlinf.workers.process_group import ProcessGroup

MicroBatch = tuple[np.ndarray, bool]  # [n] int64 rows of one forward pass, and whether they count
T = TypeVar("T")


class MicroBatchRunner:
    """As many samples at a time as the limit says, or half of it once that did not fit."""

    def __init__(
        self,
        config: ActorConfig,
        device: torch.device,
        ranks: ProcessGroup,
        parallel: ParallelPolicy,
        optimizer: Optimizer,
        limit: BatchSizeLimit,
    ) -> None:
        self.config, self.device, self.ranks = config, device, ranks
        self.parallel, self.optimizer = parallel, optimizer
        self.limit = limit
        self.given_up = Event()  # set from another thread: no rank begins another micro-batch
        self._counted = 0  # halvings that `take_failures` has returned

    def run(
        self,
        rows: np.ndarray,
        work: Callable[[Sequence[MicroBatch]], T],
        homes: np.ndarray | None = None,
    ) -> T:
        """Does `work` on this rank's micro-batches of `rows` ([n] int64), which all ranks share.

        Where a rank runs out of memory, all do it once more in micro-batches of half the size. So
        `work` must begin anew when it is called again, and that of a replicated policy must wait
        for no other rank.

        Args:
            homes: [n] int64, the node that each row is dealt to if it has room; see `layout.deal`.

        Raises:
            UpdateGivenUp: `given_up` was set on one rank at least; all of them raise it.
            OutOfMemory: half the size does not fit either. Ranks of a sharded policy wait for each
                other inside a pass, so there the first failure already is one; its `smaller`
                is what new ranks may try.
        """
        while True:
            done: list[T] = []
            table, stops = "", False
            try:
                done.append(work(self._micro_batches(rows, homes)))
            except torch.OutOfMemoryError:
                table = self.table()  # after this block the pass and its tensors are gone
            except UpdateGivenUp:
                if self.parallel.in_step:
                    raise
                stops = True
            largest = -(-len(rows) // self.ranks.world)
            if self.parallel.in_step and not done:
                raise self.limit.error(
                    largest, table, self.advice(), smaller=self.limit.half_of(largest)
                )
            if self.parallel.in_step:
                return done[0]
            if self.ranks.any(stops):
                raise UpdateGivenUp
            if not self.ranks.any(not done):
                return done[0]
            self.limit.halve(largest, table or "  (of another rank)", self.advice())

    def each(self, micro_batches: Sequence[MicroBatch]) -> Iterator[MicroBatch]:
        """The micro-batches of a call of `work`, one by one, until `given_up`."""
        for micro_batch in micro_batches:
            stops = self.given_up.is_set()
            # Ranks of a sharded policy compute a pass together, or none of them does.
            if self.ranks.any(stops) if self.parallel.in_step else stops:
                raise UpdateGivenUp
            yield micro_batch

    def take_failures(self) -> int:
        """Halvings since the last call."""
        new, self._counted = self.limit.halvings - self._counted, self.limit.halvings
        return new

    def table(self) -> str:
        """What is in the memory of this rank's device."""
        device, share = self.device, self.parallel.share
        weights = list(self.parallel.policy.parameters())
        gradients = [share(p.grad) for p in weights if p.grad is not None]
        moments = [share(m) for s in self.optimizer.state().values() for m in s.values()]
        return memory_table(
            device,
            {
                "weights": bytes_on(device, map(share, weights)),
                "gradients": bytes_on(device, gradients),
                "Adam": bytes_on(device, moments),
            },
        )

    def advice(self) -> list[str]:
        """Other ways to need less memory."""
        model, fsdp = self.config.model, self.config.fsdp_config
        ways = {
            "actor.model.gradient_checkpointing=true": model.recomputes
            and not model.gradient_checkpointing,
            "actor.fsdp_config.cpu_offload=true": not fsdp.cpu_offload,
        }
        shared = "rollout.enable_offload=true and env.enable_offload=true where they share the GPU"
        return [*(way for way, helps in ways.items() if helps), shared]

    def _micro_batches(self, rows: np.ndarray, homes: np.ndarray | None) -> list[MicroBatch]:
        """Rows of each pass of this rank.

        Ranks of a sharded policy compute each pass together. One that has no rows left for it
        takes part with a row that does not count; a replicated policy leaves it out.
        """
        assert self.limit.most is not None
        share = layout.deal(rows, self.ranks.nodes, homes)[self.ranks.rank]
        largest = -(-len(rows) // self.ranks.world)
        parts = layout.micro_batches(share, largest, self.limit.most)
        if self.parallel.in_step:
            return [(part, True) if len(part) else (rows[:1], False) for part in parts]
        return [(part, True) for part in parts if len(part)]
