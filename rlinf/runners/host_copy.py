"""The launcher's side of the host copy: what owns the memory, and which iteration the copy is of.

What a rank writes there is in `workers/host_copy.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from rlinf.cluster.group import Pending, WorkerGroup
from rlinf.config.placement import ProcessPlacement
from rlinf.data.shared import Handle, SharedMemory
from rlinf.errors import UserError, WorkerFailed
from rlinf.workers.process import prepare_process

MEMORY_OWNER = "rlinf.runners.host_copy:MemoryOwner"
Wait = Callable[[Pending], list[Any]]


class HostCopy:
    """A copy of the actor's state in memory of each rank's machine, which outlives the ranks.

    The memory belongs to the launcher, or to one process on each node. The copy is of the last
    completed iteration: it counts only if every rank has said that it is complete.
    """

    def __init__(
        self,
        actor: WorkerGroup,
        ranks: Sequence[ProcessPlacement],
        launch: Callable[[Sequence[ProcessPlacement]], WorkerGroup] | None,
    ) -> None:
        """
        Args:
            actor: the ranks whose state is copied, also those that replace others.
            ranks: their placements.
            launch: starts a `MemoryOwner` for each placement; None where the launcher owns the
                memory.
        """
        self._actor = actor
        self._nodes = [rank.node for rank in ranks]
        self._own: list[SharedMemory] = []
        self._handles: list[Handle] = []
        self._written: Pending | None = None  # since there is this memory
        self._owners: WorkerGroup | None = None
        if launch is not None:
            first = {rank.node: rank for rank in reversed(ranks)}
            self._owners = launch(
                [
                    replace(first[node], rank=index, resources=(), kind="cpu")
                    for index, node in enumerate(sorted(first))
                ]
            )

    @property
    def exists(self) -> bool:
        """Whether the ranks were asked to write a copy, and the memory is still there."""
        return self._written is not None

    def attach(self, wait: Wait) -> None:
        """Gives every actor rank its memory, which is allocated if there is none.

        Args:
            wait: for the answers of workers.
        """
        if not self._handles:
            self._handles = self._allocate(wait(self._actor.call("host_copy_bytes")), wait)
        wait(self._actor.call_each("use_host_copy", [(handle,) for handle in self._handles]))

    def write(self) -> None:
        """An iteration is complete: every rank begins to copy its state; does not wait."""
        self._written = self._actor.call("write_host_copy")

    def read(self, timeout_s: float) -> bool:
        """Every rank continues from the copy; returns whether there is a complete one.

        Raises:
            WorkerFailed: a rank failed, or did not answer within `timeout_s`.
        """
        if self._written is None:
            return False
        try:
            self._written.result()
        except WorkerFailed:  # while it was being written
            return False
        self._actor.call("read_host_copy").result(timeout_s=timeout_s)
        return True

    def take_over(self) -> None:
        """Before a Ray that ended is started again: holds what only its objects hold."""
        if self._written is not None:
            self._written.take_over()

    def repair(self, lost: Collection[int], timeout_s: float) -> bool:
        """Replaces owners of the memory that failed, and returns whether there were any.

        The copy is gone with them, and the ranks need `attach`.

        Args:
            lost: node ranks whose machine is another one now.
        """
        if self._owners is None:
            return False
        failed = sorted({*self._owners.dead(timeout_s), *self._owners.on(lost)})
        if failed:
            self._owners.restart(failed)
            self._handles, self._written = [], None
        return bool(failed)

    def close(self) -> None:
        """Ends the processes that own the memory."""
        if self._owners is not None:
            self._owners.kill()

    def _allocate(self, sizes: Sequence[int], wait: Wait) -> list[Handle]:
        """Memory of so many bytes for each rank, on its node."""
        if self._owners is None:
            self._own = allocate(sizes)
            return [memory.handle for memory in self._own]
        nodes = sorted(set(self._nodes))
        of_node = [
            [size for at, size in zip(self._nodes, sizes, strict=True) if at == node]
            for node in nodes
        ]
        answers = wait(self._owners.call_each("allocate", [(part,) for part in of_node]))
        left = {node: iter(handles) for node, handles in zip(nodes, answers, strict=True)}
        return [next(left[node]) for node in self._nodes]


class MemoryOwner:
    """consumes: sizes; produces: memory; waits for: nothing. It only has to outlive the ranks.

    It is a process of its own where the launcher is not on the ranks' machine, or need not be.
    """

    def __init__(self, rank: int, log_dir: str) -> None:
        prepare_process(f"host_copy{rank}", log_dir)
        self._memory: list[SharedMemory] = []

    def ready(self) -> None:
        """Answers once the constructor has returned."""

    def allocate(self, sizes: Sequence[int]) -> list[Handle]:
        """New memory, in place of what there was; see `allocate`."""
        self._memory = []
        self._memory = allocate(sizes)
        return [memory.handle for memory in self._memory]


def allocate(sizes: Sequence[int]) -> list[SharedMemory]:
    """Memory for the state of some actor ranks.

    Args:
        sizes: in bytes.

    Raises:
        UserError: the machine has not so much left.
    """
    try:
        return [SharedMemory.create(size) for size in sizes]
    except OSError as error:
        raise UserError(
            f"runner.recovery_memory_gb: no memory for a copy of {sum(sizes) / 1e9:.2f} GB of "
            f"policy and optimizer: {error.strerror}",
            "set runner.recovery_memory_gb=0; an actor that dies then goes on from the newest "
            "checkpoint",
        ) from error
