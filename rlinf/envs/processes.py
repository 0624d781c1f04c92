"""A sub-process that hosts an object, such as a batch of envs, and the messages it is driven by.

::

    owner                                 sub-process
    HostProcess.request("run_chunk")  ->  calls the object's method
    HostProcess.reply()               <-  its result, or the error it raised

The sub-process is a fresh interpreter, never a fork: a renderer does not survive one. Requests
and small parts of replies are pickled through a socket; the arrays of a reply lie in a file in
shared memory that has no name, so that nothing is left behind whoever is killed.

However the sub-process ends, its last words (the traceback, or where its threads stood when it
crashed or exceeded its time) are in the owner's error.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from io import FileIO
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from rlinf.errors import EnvironmentFailure, UserError, WorkerDied

GRACE_S = 5.0  # what a sub-process that exceeded its time, or was told to end, may still take
_ENVIRONMENT = {
    # Each sub-process is meant for one core; OpenMP computes, llvmpipe draws.
    "OMP_NUM_THREADS": "1",
    "LP_NUM_THREADS": "1",
    "MS_SKIP_ASSET_DOWNLOAD_PROMPT": "1",  # there is nobody to answer a question
}


def quiet_process(log_file: Path) -> None:
    """What a sub-process does before it loads a simulator: one thread, no input, a log file.

    Ctrl-C reaches the whole process group; only the launcher decides what it means.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(_ENVIRONMENT)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with Path(os.devnull).open("rb") as nothing, log_file.open("ab") as log:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)  # on descriptors, as native libraries write to them
        os.dup2(log.fileno(), 2)


class HostProcess:
    """The owner's side of a sub-process; one thread at a time may use it."""

    def __init__(self, name: str, log_file: Path) -> None:
        """Starts an interpreter.

        Args:
            name: what it hosts, for messages.
            log_file: what the sub-process prints is appended to it.
        """
        self._name, self._log_file = name, log_file
        self._doing = "build"
        self.channel, theirs = Pipe()
        life, our_life = os.pipe()
        self._life = FileIO(our_life, "wb")  # it closes with us, and that ends the sub-process
        self._arrays = FileIO(os.memfd_create("arrays"), "r+b")
        self._last_words = FileIO(os.memfd_create("last words"), "r+b")
        files = (theirs.fileno(), self._arrays.fileno(), self._last_words.fileno(), life)
        with theirs, FileIO(life, "rb"):
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(log_file), *map(str, files)],
                env={**os.environ, "PYTHONPATH": _search_path()},
                pass_fds=files,
            )

    def request(self, member: str, arguments: Sequence[Any], timeout_s: float) -> None:
        """Asks for the result of a method of the hosted object, to be had from `reply`.

        The first request is `build`: its argument makes the object, and the reply is None. The
        sub-process ends itself when a request takes longer than `timeout_s` seconds.
        """
        self._doing = member
        # Pickled on its own: the clock must run while reading it, which can mean long imports.
        call = pickle.dumps((member, tuple(arguments)))
        try:
            self.channel.send((timeout_s, call))
        except (BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def reply(self) -> Any:
        """Waits for the result; arrays are copies that nobody else writes to.

        Raises:
            UserError, EnvironmentFailure: as raised by the hosted object.
            WorkerDied: the sub-process ended.
        """
        try:
            message, sizes = self.channel.recv()
        except (EOFError, ConnectionResetError):
            raise self._death() from None
        reply = pickle.loads(message, buffers=_read(self._arrays, sizes))
        if isinstance(reply, (UserError, EnvironmentFailure)):
            raise reply
        return reply

    def hang_up(self) -> None:
        """Lets the sub-process close the hosted object and end."""
        self.channel.close()

    def end(self, deadline: float) -> int:
        """Waits until the sub-process is gone; at the deadline (`time.monotonic`) it is killed.

        Returns:
            Its exit code; negative is a signal.
        """
        try:
            code = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._life.close()
        self._arrays.close()
        return code

    def silence(self, timeout_s: float) -> WorkerDied:
        """The error for a sub-process that neither answers nor ends."""
        return WorkerDied(
            f"the simulator process of {self._name} gave no answer to {self._doing} within "
            f"{timeout_s:g} s\n  its output: {self._log_file}"
        )

    def _death(self) -> WorkerDied:
        code = self.end(time.monotonic() + GRACE_S)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        words = os.pread(self._last_words.fileno(), 1 << 16, 0).decode(errors="replace").strip()
        return WorkerDied(
            f"the simulator process of {self._name} ended with {how} during {self._doing}\n"
            f"{words or 'It left no traceback.'}\n  its output: {self._log_file}"
        )


def outcomes(hosts: Mapping[int, HostProcess], timeout_s: float) -> dict[int, Any]:
    """What several sub-processes reply to a request: the result, or how the sub-process failed.

    Raises:
        UserError: as raised by a hosted object, at once.
    """
    deadline = time.monotonic() + timeout_s + GRACE_S
    waiting = {host.channel: index for index, host in hosts.items()}
    results: dict[int, Any] = {}
    while waiting:
        ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
        if not ready:
            return results | {i: hosts[i].silence(timeout_s) for i in waiting.values()}
        for channel in ready:
            assert isinstance(channel, Connection)
            index = waiting.pop(channel)
            try:
                results[index] = hosts[index].reply()
            except (EnvironmentFailure, WorkerDied) as failure:
                results[index] = failure
    return results


def _search_path() -> str:
    """Where this interpreter finds modules, for another one."""
    return os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)


def _read(file: FileIO, sizes: Sequence[int]) -> list[bytearray]:
    """The buffers that `_write` wrote one after the other."""
    file.seek(0)
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        rest = memoryview(buffer)
        while rest:
            rest = rest[file.readinto(rest) :]
    return buffers


def _write(file: FileIO, buffers: Sequence[memoryview]) -> None:
    """Replaces the content of a file in memory."""
    file.seek(0)
    for rest in buffers:
        while rest:
            rest = rest[file.write(rest) :]
    file.truncate()


# --- the sub-process's side ----------------------------------------------------------------------


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


def _end_with_owner(life: int) -> None:
    """Makes the kernel end this process when the owner's end of the pipe `life` closes.

    SIGIO ends a process that does not handle it, even one that hangs in native code; unlike
    PR_SET_PDEATHSIG it does not care whether the thread that started this process lives on.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)


def _main(log_file: Path, channel: int, arrays: int, last_words: int, life: int) -> None:
    quiet_process(log_file)
    _end_with_owner(life)
    words = FileIO(last_words, "r+b")
    faulthandler.enable(words)

    def tell(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
        words.write("".join(traceback.format_exception(kind, error, at)).encode())
        _exit(1)

    sys.excepthook = tell
    _serve(Connection(channel), FileIO(arrays, "r+b"), words)
    _exit(0)


def _exit(code: int) -> NoReturn:
    """Ends at once: simulators take seconds to unload, and hang when something is broken."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
