"""Files that survive a full disk: whole records or nothing."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlinf.data.disk import written_beside
from rlinf.errors import UserError

logger = logging.getLogger(__name__)


class RecordFile:
    """Append-only file of whole records, for the threads of one process.

    A record that cannot be written (no space, quota) leaves the file as it was and waits; every
    later append tries the waiting ones first. An outage costs one warning and never an exception.

    Args:
        path: created if missing, otherwise continued.
        keep: most records that wait; beyond it the oldest are given up.
    """

    def __init__(self, path: Path, keep: int = 100_000) -> None:
        self._path = path
        self._waiting: deque[bytes] = deque(maxlen=keep)
        self._failing = False
        self._lock = threading.RLock()  # the warning of a failed write may be a record itself
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, record: bytes) -> None:
        """Write the record now, or later if the disk refuses it."""
        with self._lock:
            self._waiting.append(record)
            self.flush()

    def flush(self) -> bool:
        """Write what waits, in order; False if something still waits."""
        with self._lock:
            while self._waiting:
                try:
                    self._write(self._waiting[0])
                except OSError as error:
                    self._warn(error)
                    return False
                self._waiting.popleft()
            self._failing = False
            return True

    def close(self) -> None:
        """Write what waits and close; records the disk still refuses are lost with a warning."""
        if not self.flush():
            logger.warning("%s: %d records were lost", self._path, len(self._waiting))
        os.close(self._descriptor)

    def _write(self, record: bytes) -> None:
        size_before = os.fstat(self._descriptor).st_size
        try:
            rest = memoryview(record)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            os.ftruncate(self._descriptor, size_before)
            raise

    def _warn(self, error: OSError) -> None:
        if not self._failing:
            # Set first: the warning may come back here as a record of the run's log.
            self._failing = True
            reason = error.strerror or str(error)
            logger.warning("%s cannot be written (%s); trying again later", self._path, reason)


@contextmanager
def folder_must_be_writable(folder: Path) -> Iterator[None]:
    """Turns an `OSError` of the block into advice to the user about the run's folder."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"runner.logger.log_path = {folder}: cannot be written ({error.strerror})",
            "choose a folder on a disk with space where you may write",
        ) from error


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file's content in one step: readers see the old content or the new one."""
    with written_beside(path) as building:
        building.write_bytes(content)
