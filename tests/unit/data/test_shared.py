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
    opened, go, answer = context.Event(), context.Event(), context.Queue()

    def look() -> None:
        seen = SharedMemory.open(memory.handle)
        before = int(seen.array.sum())
        opened.set()
        go.wait()
        answer.put((before, int(seen.array.sum()), seen.array.flags.writeable))

    process = context.Process(target=look)
    process.start()
    assert opened.wait(60)
    memory.array[:] = 3
    go.set()
    before, after, writable = answer.get(timeout=60)
    process.join()
    assert (before, after) == (0, 3000) and not writable


def test_nothing_is_left_in_the_file_system_and_nothing_to_open_after_the_end():
    context = multiprocessing.get_context("fork")
    handles = context.Queue()

    def make() -> None:
        handle = SharedMemory.create(10).handle
        handles.put((handle, str(Path(f"/proc/self/fd/{handle.descriptor}").readlink())))

    process = context.Process(target=make)
    process.start()
    handle, file = handles.get(timeout=60)
    process.join()
    assert file == "/memfd:rlinf (deleted)"
    with pytest.raises(OSError, match="No such file"):
        SharedMemory.open(handle)


def test_a_policy_without_weights_to_send_needs_no_memory():
    empty = SharedMemory.create(0)
    assert empty.array.shape == (0,) and empty.array.dtype == np.uint8
    assert SharedMemory.open(Handle(os.getpid(), empty.handle.descriptor, 0)).array.size == 0
