"""The sub-process's side of `processes`: it builds an object and answers calls of its methods."""

from __future__ import annotations

import faulthandler
import fcntl
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from io import FileIO
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from rlinf.errors import EnvironmentFailure, UserError
from rlinf.signals import leave_to_launcher

_ENVIRONMENT = {
    # Each sub-process is meant for one core; OpenMP computes, llvmpipe draws.
    "OMP_NUM_THREADS": "1",
    "LP_NUM_THREADS": "1",
    "MS_SKIP_ASSET_DOWNLOAD_PROMPT": "1",  # there is nobody to answer a question
}


def quiet_process(log_file: Path) -> None:
    """What a sub-process does before it loads a simulator: one thread, no input, a log file."""
    leave_to_launcher()
    os.environ.update(_ENVIRONMENT)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with Path(os.devnull).open("rb") as nothing, log_file.open("ab") as log:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)  # on descriptors, as native libraries write to them
        os.dup2(log.fileno(), 2)


def host(log_file: Path, channel: int, arrays: int, last_words: int, life: int) -> NoReturn:
    """The whole life of a sub-process, given a log file and descriptors from its owner.

    Args:
        log_file: what it prints is appended to it.
        channel: requests and replies.
        arrays: file in memory for the arrays of a reply.
        last_words: file in memory for what it has to say when it ends by itself.
        life: end of a pipe; the sub-process ends when the other end closes.
    """
    quiet_process(log_file)
    end_with_owner(life)
    words = FileIO(last_words, "r+b")
    faulthandler.enable(words)
    try:
        _serve(Connection(channel), FileIO(arrays, "r+b"), words)
    except BaseException:  # noqa: BLE001 - the process ends with it
        words.write(traceback.format_exc().encode())
        _exit(1)
    _exit(0)


def _serve(channel: Connection, arrays: FileIO, last_words: FileIO) -> None:
    """Builds the object of the first request and calls its methods until the owner hangs up."""
    hosted: Any = None

    def call(member: str, arguments: Sequence[Any]) -> Any:
        nonlocal hosted
        if member == "build":
            (make,) = arguments
            hosted = make()
            return None
        return getattr(hosted, member)(*arguments)

    while True:
        try:
            timeout_s, request = channel.recv()
        except (EOFError, ConnectionResetError):
            break
        faulthandler.dump_traceback_later(timeout_s, exit=True, file=last_words)
        reply = _result_or_error(call, *pickle.loads(request))
        faulthandler.cancel_dump_traceback_later()
        buffers: list[pickle.PickleBuffer] = []
        message = pickle.dumps(reply, protocol=5, buffer_callback=buffers.append)
        parts = [buffer.raw() for buffer in buffers]
        _write(arrays, parts)
        channel.send((message, [part.nbytes for part in parts]))
    if hosted is not None:
        hosted.close()


def _result_or_error(call: Callable[..., Any], *arguments: Any) -> Any:
    """The result, or the error if the owner shall see it as it is; others end the process."""
    try:
        return call(*arguments)
    except UserError as error:
        return error
    except EnvironmentFailure as error:
        return EnvironmentFailure(f"{error}\n{traceback.format_exc()}")


def end_with_owner(life: int) -> None:
    """Makes the kernel end this process when the owner's end of the pipe `life` closes.

    SIGIO ends a process that does not handle it, even one that hangs in native code; unlike
    PR_SET_PDEATHSIG it does not care whether the thread that started this process lives on.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
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
