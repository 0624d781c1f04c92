"""Ctrl-C and SIGTERM: the first asks the run to save and stop, the second ends it at once."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType


class Stopped(Exception):
    """The run was asked to stop; not an error. The exit code is 128 + signal number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class StopRequest:
    """Remembers the first signal; installed for the length of a `with` block."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.since = 0.0

    def __enter__(self) -> StopRequest:
        self._before = {n: signal.signal(n, self._on_signal) for n in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises `Stopped` if a signal has come."""
        if self.number is not None:
            raise Stopped(self.number)

    def check_after(self, grace_s: float) -> None:
        """Raises `Stopped` if a signal came more than `grace_s` seconds ago."""
        if self.came_before(grace_s):
            self.check()

    def came_before(self, seconds: float) -> bool:
        """Whether a signal came more than so many seconds ago."""
        return self.number is not None and time.monotonic() - self.since > seconds

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.number is not None:
            os._exit(128 + number)  # asked twice: the workers end with their launcher
        self.number, self.since = number, time.monotonic()


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
