"""Questions and answers over a socket, between threads of one process and between processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from rlinf.cluster.service import Address, Caller, serve
from rlinf.errors import UserError, WorkerFailed


class Target:
    def __init__(self) -> None:
        self.released = threading.Event()

    def double(self, array: np.ndarray) -> np.ndarray:
        return 2 * array

    def wait(self) -> str:
        self.released.wait()
        return "released"

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def release(self) -> None:
        self.released.set()

    def refuse(self) -> None:
        raise UserError("model.name = x", "name another")

    def fail(self) -> None:
        raise ZeroDivisionError("a bug")


@pytest.mark.parametrize("size", [1, 10, 300_000])
@pytest.mark.parametrize("way", ["local", "remote"])
def test_arrays_of_any_size_arrive_on_the_same_machine_and_from_another(size, way):
    address = serve(Target(), host="127.0.0.1")
    if way == "remote":  # a socket name that does not exist here, as on another machine
        address = address._replace(local="\0rlinf-of-another-machine")
    caller = Caller(address)
    array = np.arange(size, dtype=np.float32)
    for _ in range(3):
        caller.ask("double", (array,))
        answer = caller.answer(60.0)
        np.testing.assert_array_equal(answer, 2 * array)
        assert answer.flags.writeable


def test_callers_are_served_at_the_same_time():
    address = serve(Target(), host=None)
    first, second = Caller(address), Caller(address)
    first.ask("wait", ())
    second.ask("release", ())
    second.answer(60.0)
    assert first.answer(60.0) == "released"


def test_an_error_of_ours_arrives_as_it_is_and_any_other_with_its_traceback():
    caller = Caller(serve(Target(), host=None))
    caller.ask("refuse", ())
    with pytest.raises(UserError, match=r"model\.name") as caught:
        caller.answer(60.0)
    assert caught.value.fix == "name another"
    caller.ask("fail", ())
    with pytest.raises(WorkerFailed, match=r"(?s)in fail.*ZeroDivisionError: a bug"):
        caller.answer(60.0)
    caller.ask("double", (np.ones(1),))  # the service lives on
    assert caller.answer(60.0) == 2


def test_silence_ends_after_the_timeout():
    caller = Caller(serve(Target(), host=None))
    caller.ask("wait", ())
    with pytest.raises(WorkerFailed, match=r"timed out after 0\.2 s"):
        caller.answer(0.2)


def test_no_caller_gets_in_without_the_key():
    address = serve(Target(), host=None)
    with pytest.raises(WorkerFailed, match="digest"):
        Caller(address._replace(key=b"another"))
    Caller(address).ask("release", ())  # and the service goes on


SERVER = """
import sys, time
from rlinf.cluster.service import serve
from tests.unit.cluster.test_service import Target
print(repr(tuple(serve(Target(), None))), flush=True)
sys.stdin.read()
"""


def test_a_process_that_dies_is_noticed():
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    address = Address(*eval(process.stdout.readline()))
    caller = Caller(address)
    caller.ask("die", ())
    with pytest.raises(WorkerFailed, match="is gone"):
        caller.answer(600.0)
    with pytest.raises(WorkerFailed, match="cannot be reached"):
        Caller(address)
    process.communicate()
