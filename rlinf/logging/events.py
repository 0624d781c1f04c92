"""TensorBoard event files, written with TensorBoard's own record format and messages."""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from rlinf.logging.files import RecordFile

_file_numbers = itertools.count()


class EventFile:
    """One event file of scalars.

    Written in the calling thread, record by record: a step is a few kilobytes, and so a full disk
    shows at once and is dealt with by `RecordFile`.

    Args:
        folder: log folder to hand to `tensorboard --logdir`.
        resume_step: last step of the checkpoint the run goes on from; TensorBoard then drops the
            later steps of earlier event files in the folder.
    """

    def __init__(self, folder: Path, resume_step: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard orders the files of a folder by name, and so by the time in it.
        unique = f"{time.time():.6f}.{socket.gethostname()}.{os.getpid()}.{next(_file_numbers)}"
        self._file = RecordFile(folder / f"events.out.tfevents.{unique}")
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if resume_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._append(Event(wall_time=time.time(), step=resume_step + 1, session_log=start))

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """One scalar per metric."""
        values = [Summary.Value(tag=name, simple_value=v) for name, v in metrics.items()]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def close(self) -> None:
        """Write what waits and close."""
        self._file.close()

    def _append(self, event: Event) -> None:
        record = _Bytes()
        RecordWriter(record).write(event.SerializeToString())
        self._file.append(bytes(record.content))


class _Bytes:
    """What `RecordWriter` writes into: collects one framed record."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, data: bytes) -> None:
        self.content += data
