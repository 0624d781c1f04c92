"""Signals that reach a whole process group: only the launcher decides what they mean.

Ctrl-C goes to everything that runs in a terminal, a hang-up to everything that was started in it.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

GROUP_WIDE = (signal.SIGINT, signal.SIGHUP)


def leave_to_launcher() -> None:
    """What a process of a run does first: it ends on request, or with its launcher."""
    for number in GROUP_WIDE:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Processes started inside, and theirs, do not get the signals; this one gets them later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_WIDE)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
