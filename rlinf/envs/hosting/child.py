"""The sub-process's side of `hosting`: it builds an object and answers calls of its methods.

Together with what it imports, this module needs NumPy alone and runs on Python 3.10 to 3.13, so
that a simulator can live under the Python that it was made for.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from io import BytesIO, FileIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from rlinf.envs.hosting.wire import decode, encode
from rlinf.errors import EnvironmentFailure, UserError
from rlinf.signals import leave_to_launcher


def quiet_process(log_file: Path, environment: Mapping[str, str]) -> None:
    """What a sub-process does before it loads a simulator: variables, no input, a log file."""
    leave_to_launcher()
    os.environ.update(environment)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with Path(os.devnull).open("rb") as nothing, log_file.open("ab") as log:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)  # on descriptors, as native libraries write to them
        os.dup2(log.fileno(), 2)


def main(log_file: str, *descriptors: str) -> NoReturn:
    """The sub-process of an interpreter of its own, whose variables its owner has set."""
    quiet_process(Path(log_file), {})
    host([int(each) for each in descriptors], whole_group=True)


def host(descriptors: Sequence[int], whole_group: bool = False) -> NoReturn:
    """The whole life of a sub-process.

    Args:
        descriptors: from its owner: the channel of requests and replies; a file in memory for the
            arrays of a reply; one for the traceback of a sub-process that ends by itself; and an
            end of a pipe, with whose other end the sub-process ends.
        whole_group: the processes that the simulator starts end with this one.
    """
    channel, arrays, last_words, life = descriptors
    end_with_owner(life, whole_group)
    words = FileIO(last_words, "r+b")
    faulthandler.enable(words)
    try:
        _serve(Connection(channel), FileIO(arrays, "r+b"), words)
    except BaseException:  # noqa: BLE001 - the process ends with it
        words.write(traceback.format_exc().encode())
        _exit(1)
    _exit(0)


def imported(path: str) -> Any:
    """What `module:attribute` stands for."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def _serve(channel: Connection, arrays: FileIO, last_words: FileIO) -> None:
    """Builds the object of the first request and calls its methods until the owner hangs up."""
    hosted: Any = None

    def call(member: str, arguments: Sequence[Any]) -> Any:
        nonlocal hosted
        if member == "build":
            path, *rest = arguments
            hosted = imported(path)(*rest)
            return None
        return getattr(hosted, member)(*arguments)

    while True:
        try:
            timeout_s, member, arguments = _receive(channel)
        except (EOFError, ConnectionResetError):
            break
        faulthandler.dump_traceback_later(timeout_s, exit=True, file=last_words)
        reply, parts = encode(_result_or_error(call, member, arguments))
        faulthandler.cancel_dump_traceback_later()
        _write(arrays, parts)
        channel.send_bytes(reply)
    if hosted is not None:
        hosted.close()


def _receive(channel: Connection) -> Any:
    """The next request: seconds that it may take, a method, and its arguments."""
    request, buffers = channel.recv_bytes(), BytesIO(channel.recv_bytes())
    return decode(request, lambda size: bytearray(buffers.read(size)))


def _result_or_error(call: Callable[..., Any], *arguments: Any) -> tuple[str, Any]:
    """The result, or the error if the owner shall raise it again; others end the process."""
    try:
        return "result", call(*arguments)
    except UserError as error:
        return "user error", (error.message, error.fix)
    except EnvironmentFailure as error:
        return "environment failure", f"{error}\n{traceback.format_exc()}"


def end_with_owner(life: int, whole_group: bool = False) -> None:
    """Makes the kernel end this process when the owner's end of the pipe `life` closes.

    SIGIO ends a process that does not handle it, even one that hangs in native code; unlike
    PR_SET_PDEATHSIG it does not care whether the thread that started this process lives on.

    Args:
        whole_group: this process leads a group, which ends as a whole.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp() if whole_group else os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def _write(file: FileIO, buffers: Sequence[memoryview]) -> None:
    """Replaces the content of a file in memory."""
    file.seek(0)
    for rest in buffers:
        while rest:
            rest = rest[file.write(rest) :]
    file.truncate()


def _exit(code: int) -> NoReturn:
    """Ends at once: simulators take seconds to unload, and hang when something is broken."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
