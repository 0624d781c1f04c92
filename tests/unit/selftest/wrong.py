"""Checks that go wrong in every way there is."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from pathlib import Path

from rlinf.selftest.check import Absent, Failed, Found, Scope

LOCK = "lock"


def passes(scope: Scope) -> Found:
    print("said aloud")
    return Found(f"on {scope.device}", {"answer": 42})


def fails(scope: Scope) -> Found:
    raise Failed("7 is not 8", {"found": 7})


def lacks(scope: Scope) -> Found:
    raise Absent("no recorded numbers")


def raises(scope: Scope) -> Found:
    raise ValueError("not a number\nmore about it")


def crashes(scope: Scope) -> Found:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("still alive")


def exits(scope: Scope) -> Found:
    os._exit(3)


def hangs(scope: Scope) -> Found:
    threading.Event().wait()
    raise AssertionError("never set")


def leaves_a_process(scope: Scope) -> Found:
    """It holds a lock as long as it lives."""
    lock = (Path(scope.folder) / LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.fork() == 0:
        threading.Event().wait()
    return Found("")
