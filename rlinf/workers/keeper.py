"""The keeper: owns the memory on a node in which actor ranks keep their state.

It is a process of its own where the launcher is not on the ranks' machine, or need not be.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlinf.data.shared import Handle, SharedMemory
from rlinf.errors import UserError
from rlinf.workers.process import prepare_process


class Keeper:
    """consumes: sizes; produces: memory; waits for: nobody. It only has to outlive the ranks."""

    def __init__(self, rank: int, log_dir: str) -> None:
        prepare_process(f"keeper{rank}", log_dir)
        self._memory: list[SharedMemory] = []

    def ready(self) -> None:
        """Answers once the constructor is through."""

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
