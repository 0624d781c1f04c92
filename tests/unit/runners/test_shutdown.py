from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from rlinf.runners.shutdown import Stopped, StopRequest
from rlinf.signals import kept_from_children


@pytest.fixture(autouse=True)
def hangups_arrive() -> Iterator[None]:
    """Also where these tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_is_remembered_until_it_is_asked_for(number: signal.Signals, code: int):
    with StopRequest() as stop:
        stop.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped, match=number.name) as stopped:
            stop.check()
        assert stopped.value.exit_code == code


def test_work_under_way_may_take_its_grace_time():
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        stop.check_after(60.0)
        assert not stop.came_before(60.0) and stop.came_before(-1.0)
        with pytest.raises(Stopped):
            stop.check_after(-1.0)


def test_a_second_signal_ends_the_process_at_once():
    child = os.fork()
    if child == 0:
        with StopRequest():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)  # not reached
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143


def test_a_terminal_that_goes_away_hangs_up_twice_and_is_no_second_request():
    with StopRequest() as stop:
        for number in (signal.SIGHUP, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert stop.number == signal.SIGHUP


def test_a_run_under_nohup_goes_on_where_the_terminal_goes_away():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            stop.check()
            assert stop.number is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_process_of_a_run_is_not_ended_by_what_its_terminal_sends():
    """Neither before it says so itself, nor after; the launcher does get the signal."""
    code = "import sys; from rlinf.signals import leave_to_launcher as l; input(); l(); input()"
    with StopRequest() as stop:
        with kept_from_children():
            child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
            os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(Stopped):
            stop.check()
    assert child.stdin is not None
    for _ in range(2):
        child.send_signal(signal.SIGHUP)
        child.send_signal(signal.SIGINT)
        child.stdin.write(b"\n")
        child.stdin.flush()
    assert child.wait() == 0


def test_the_handlers_from_before_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
