"""Memory that two processes of one machine see, without a file that a killed process leaves behind.

The memory belongs to an anonymous file, which a reader reaches through the writer's `/proc` entry.
It is freed when the last process that maps it ends, and it does not count towards the limit of
`/dev/shm`, which containers keep small.
"""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rlinf import control_groups


@dataclass(frozen=True, slots=True)
class Handle:
    """What another process on the machine needs to open the memory; valid while the writer runs."""

    pid: int
    descriptor: int
    size: int


class SharedMemory:
    """`size` bytes; what the writer changes, readers see at once."""

    def __init__(self, descriptor: int, size: int, writable: bool) -> None:
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self.handle = Handle(os.getpid(), descriptor, size)
        self._map = mmap.mmap(descriptor, max(size, 1), access=access)

    @classmethod
    def create(cls, size: int) -> SharedMemory:
        """New memory that this process may write.

        Raises:
            OSError: the machine has not so much memory left.
        """
        if size > control_groups.memory().available:  # the kernel would look for a victim
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        descriptor = os.memfd_create("rlinf")
        os.posix_fallocate(descriptor, 0, max(size, 1))  # fails here, not when it is written
        return cls(descriptor, size, writable=True)

    @classmethod
    def open(cls, handle: Handle, writable: bool = False) -> SharedMemory:
        """Another process's memory, to be read, or written too.

        Raises:
            OSError: that process has ended, or runs on another machine.
        """
        descriptor = os.open(
            f"/proc/{handle.pid}/fd/{handle.descriptor}", os.O_RDWR if writable else os.O_RDONLY
        )
        try:
            return cls(descriptor, handle.size, writable)
        finally:
            os.close(descriptor)  # the mapping stays

    @cached_property
    def array(self) -> np.ndarray:
        """[size] uint8; read-only for a reader."""
        return np.frombuffer(self._map, np.uint8, self.handle.size)
