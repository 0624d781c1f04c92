from __future__ import annotations

import os
import signal

import pytest

from rlinf.runners.stopping import Stopped, StopRequest


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_remembered_until_somebody_asks(number: signal.Signals, code: int):
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


def test_the_handlers_from_before_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
