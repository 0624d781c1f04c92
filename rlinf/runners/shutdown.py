"""Ctrl-C, SIGTERM and a hang-up: the first asks the run to save and stop, the second ends it.

A terminal that goes away hangs up more than once, so that is no second request. Where hang-ups are
ignored, as under `nohup`, they stay so.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
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
        self.before_exit: Callable[[], None] = lambda: None
        """Called where a second signal ends the process; must not wait for anything."""

    def __enter__(self) -> StopRequest:
        wanted = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            wanted.append(signal.SIGHUP)
        self._before = {n: signal.signal(n, self._on_signal) for n in wanted}
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
            if number == signal.SIGHUP:
                return
            self.before_exit()
            os._exit(128 + number)  # asked twice: the workers end with their launcher
        self.number, self.since = number, time.monotonic()
