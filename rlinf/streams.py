"""Standard input, output and error of a command that may be started without, or lose them."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TextIO

from rlinf.errors import UserError

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # `| head`, a terminal that was closed


def make_patient() -> None:
    """Has to come first in a process: from then on its standard streams are there.

    One that was closed leads nowhere; otherwise the first file that is opened would take its
    place, and get what others print. A reader that goes away ends nothing.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest that is free
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = _Patient(sys.stdout or os.fdopen(1, "w", closefd=False))
    sys.stderr = _Patient(sys.stderr or os.fdopen(2, "w", closefd=False))


class _Patient(io.TextIOBase):
    """Leads nowhere once its reader is gone, or its disk is full.

    A full disk is an error of the user where it is reported first: before anything has begun.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def buffer(self) -> object:
        """For what writes bytes."""
        return self._stream.buffer

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        try:
            self._stream.write(text)
        except OSError as error:
            self._handle(error)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._handle(error)

    def _handle(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())  # which also takes what still waits in a buffer
        os.close(nowhere)
        if error.errno not in _GONE and self is sys.stdout:
            raise UserError(
                f"standard output cannot be written: {error.strerror}",
                "send it to a terminal or to a disk with space",
            ) from error
