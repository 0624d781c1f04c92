from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from rlinf.data.shared import Handle, SharedMemory


def test_what_is_written_later_is_seen_by_another_process():
    memory = SharedMemory.create(1000)
    context = multiprocessing.get_context("fork")
    go, answer = context.Event(), context.Queue()

    def look() -> None:
        seen = SharedMemory.open(memory.handle)
        before = int(seen.array.sum())
        go.wait(20)
        answer.put((before, int(seen.array.sum()), seen.array.flags.writeable))

    process = context.Process(target=look)
    process.start()
    memory.array[:] = 3
    go.set()
    _, after, writable = answer.get(timeout=20)
    process.join()
    assert after == 3000 and not writable


def test_nothing_is_left_in_the_file_system_and_nothing_to_open_after_the_end():
    files = set(Path("/dev/shm").iterdir())
    context = multiprocessing.get_context("fork")
    handles = context.Queue()
    process = context.Process(target=lambda: handles.put(SharedMemory.create(10).handle))
    process.start()
    handle = handles.get(timeout=20)
    process.join()
    assert set(Path("/dev/shm").iterdir()) <= files
    with pytest.raises(OSError, match="No such file"):
        SharedMemory.open(handle)


def test_a_policy_without_weights_to_send_needs_no_memory():
    empty = SharedMemory.create(0)
    assert empty.array.shape == (0,) and empty.array.dtype == np.uint8
    assert SharedMemory.open(Handle(os.getpid(), empty.handle.descriptor, 0)).array.size == 0
