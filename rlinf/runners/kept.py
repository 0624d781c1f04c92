"""Where the state of the last complete iteration is kept, and whether it still is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from rlinf.cluster.group import Pending, WorkerGroup
from rlinf.config.placement import ProcessPlacement
from rlinf.data.shared import Handle, SharedMemory
from rlinf.workers.keeper import allocate

KEEPER = "rlinf.workers.keeper:Keeper"
Wait = Callable[[Pending], list[list[Handle]]]


class KeptState:
    """Memory for every actor rank, on its machine, owned by a process that outlives the rank.

    That is the launcher, or one keeper on each node.
    """

    def __init__(
        self,
        ranks: Sequence[ProcessPlacement],
        launch: Callable[[Sequence[ProcessPlacement]], WorkerGroup] | None,
    ) -> None:
        """
        Args:
            ranks: of the actor.
            launch: starts a keeper for each placement; None where the launcher owns the memory.
        """
        self.whole = False  # every rank has written, or was asked to, since there is this memory
        self._nodes = [rank.node for rank in ranks]
        self._own: list[SharedMemory] = []
        self._handles: list[Handle] = []
        self._keepers: WorkerGroup | None = None
        if launch is not None:
            first = {rank.node: rank for rank in reversed(ranks)}
            self._keepers = launch(
                [
                    replace(first[node], rank=index, resources=(), kind="cpu")
                    for index, node in enumerate(sorted(first))
                ]
            )

    def handles(self, sizes: Callable[[], Sequence[int]], wait: Wait) -> list[Handle]:
        """The memory of each rank, allocated if there is none.

        Args:
            sizes: the bytes that each rank needs.
            wait: for the answers of the keepers.
        """
        if self._handles:
            return self._handles
        needed = sizes()
        if self._keepers is None:
            self._own = allocate(needed)
            self._handles = [memory.handle for memory in self._own]
            return self._handles
        nodes = sorted(set(self._nodes))
        of_node = [
            [size for at, size in zip(self._nodes, needed, strict=True) if at == node]
            for node in nodes
        ]
        answers = wait(self._keepers.call_each("allocate", [(part,) for part in of_node]))
        left = {node: iter(handles) for node, handles in zip(nodes, answers, strict=True)}
        self._handles = [next(left[node]) for node in self._nodes]
        return self._handles

    def repair(self, lost: Collection[int], timeout_s: float) -> bool:
        """Replaces keepers that died; whether there were any, and so what was kept is gone.

        Args:
            lost: node ranks whose machine is another one now.
        """
        if self._keepers is None:
            return False
        dead = sorted({*self._keepers.dead(timeout_s), *self._keepers.on(lost)})
        if dead:
            self._keepers.restart(dead)
            self._handles, self.whole = [], False
        return bool(dead)

    def close(self) -> None:
        """Ends the keepers."""
        if self._keepers is not None:
            self._keepers.kill()
