"""Keeps the terminal for our own words: everything else that a process prints goes to a file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from rlinf.logging.files import RecordFile


class PatientStream(io.TextIOBase):
    """A terminal or pipe that may go away: what it refuses is dropped, never an exception.

    A reader that closed its end (`| head`) or a full disk behind `> log.txt` must not end a run.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream that is wrapped."""
        return self._stream.encoding or "utf-8"

    def isatty(self) -> bool:
        """Of the stream that is wrapped."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream that is wrapped."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write, or drop."""
        with suppress(OSError):  # the terminal is gone; the run's log has the same words
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        with suppress(OSError):
            self._stream.flush()

    def close(self) -> None:
        """Close the stream that is wrapped."""
        super().close()  # flushes
        with suppress(OSError):
            self._stream.close()


class LogStream(io.TextIOBase):
    """What Python code prints, into the run's log file."""

    encoding = "utf-8"

    def __init__(self, file: RecordFile) -> None:
        self._file = file

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Append the text."""
        self._file.append(text.encode("utf-8", "replace"))
        return len(text)


@contextmanager
def capture_output(path: Path, log: RecordFile) -> Iterator[TextIO]:
    """Send standard output and error to the log file; yields a stream to the real output.

    Works on the file descriptors, so it holds for C libraries and for child processes too, which
    keep the file after the block. Python's own streams go through `log`, which a full disk cannot
    break. For the time of the block, `breakpoint()` is of no use.

    Args:
        path: of the log file, opened for appending.
        log: the same file.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    python_streams = sys.stdout, sys.stderr
    terminal = PatientStream(
        os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="replace", buffering=1)
    )
    file_descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        for descriptor in saved:
            os.dup2(file_descriptor, descriptor)
        sys.stdout = sys.stderr = LogStream(log)
        yield terminal  # type: ignore[misc]
    finally:
        sys.stdout, sys.stderr = python_streams
        for descriptor, original in saved.items():
            os.dup2(original, descriptor)
            os.close(original)
        os.close(file_descriptor)
        terminal.close()
