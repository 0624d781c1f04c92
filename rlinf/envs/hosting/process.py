"""A sub-process that hosts an object, such as a batch of envs, and the messages it is driven by.

::

    owner                                 sub-process (child.py)
    HostProcess.request("run_chunk")  ->  calls the object's method
    HostProcess.reply()               <-  its result, or the error it raised

A sub-process is forked from a `ForkServer`, which has imported what it needs, or runs under an
`Interpreter` of its own. Requests and replies are messages of `wire`; the arrays of a reply lie in
a file in shared memory without a name, so that nothing stays behind when a process is killed.

However the sub-process ends, its last words (the traceback, or where its threads stood when it
crashed or exceeded its time) are in the owner's error.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from io import FileIO
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Protocol

from rlinf.envs.hosting.wire import decode, encode
from rlinf.errors import EnvironmentFailure, UserError, WorkerFailed

HUNG = "Timeout ("  # how the traceback of `faulthandler.dump_traceback_later` begins
RAISE_LIMIT = "where it only needs longer, raise env.*.step_timeout_s"
GRACE_S = 5.0  # what a sub-process may still take after it exceeded its time, or was asked to end


class Process(Protocol):
    """A sub-process, however it was started."""

    def wait(self, timeout_s: float | None) -> int | None:
        """Its exit code, once it has ended; negative is a signal, None: it is not known.

        Raises:
            TimeoutError: after `timeout_s` seconds it has not ended.
        """

    def kill(self) -> None:
        """Kills it if it still exists."""


class Launcher(Protocol):
    """What starts sub-processes: a `ForkServer` or an `Interpreter`."""

    def start(self, log_file: Path, files: Sequence[int]) -> Process:
        """Begins a sub-process: `child.host(files)`, with copies of the files."""


class HostProcess:
    """The owner's side of a sub-process; one thread at a time may use it."""

    def __init__(self, name: str, log_file: Path, launcher: Launcher) -> None:
        """Begins the sub-process; it is ready once it has answered the first request.

        Args:
            name: what it hosts, for messages.
            log_file: what the sub-process prints is appended to it.
            launcher: starts it.
        """
        self._name, self._log_file = name, log_file
        self._doing = "build"
        self.channel, theirs = Pipe()
        life, our_life = os.pipe()
        self._life = FileIO(our_life, "wb")  # it closes with us, and that ends the sub-process
        self._arrays = FileIO(os.memfd_create("arrays"), "r+b")
        self._last_words = FileIO(os.memfd_create("last words"), "r+b")
        with theirs, FileIO(life, "rb"):
            files = (theirs, self._arrays, self._last_words)
            descriptors = [*(file.fileno() for file in files), life]
            self._process = launcher.start(log_file, descriptors)

    def request(self, member: str, arguments: Sequence[Any], timeout_s: float) -> None:
        """Asks for the result of a method of the hosted object, to be had from `reply`.

        The first request is `build`: its arguments are `module:function` and what that is called
        with to make the object; the reply is None. The sub-process ends itself when a request
        takes longer than `timeout_s` seconds.
        """
        self._doing = member
        message, parts = encode((float(timeout_s), member, tuple(arguments)))
        try:
            self.channel.send_bytes(message)
            self.channel.send_bytes(b"".join(parts))
        except (BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def reply(self) -> Any:
        """Waits for the result; its arrays are copies of its own.

        Raises:
            UserError, EnvironmentFailure: as raised by the hosted object.
            WorkerFailed: the sub-process ended.
        """
        try:
            message = self.channel.recv_bytes()
        except (EOFError, ConnectionResetError):
            raise self._death() from None
        self._arrays.seek(0)
        kind, result = decode(message, self._read)
        if kind == "user error":
            raise UserError(*result)
        if kind == "environment failure":
            raise EnvironmentFailure(result)
        return result

    def hang_up(self) -> None:
        """Lets the sub-process close the hosted object and end."""
        self.channel.close()

    def end(self, deadline: float) -> int | None:
        """Waits until the sub-process is gone; at the deadline (`time.monotonic`) it is killed.

        Returns:
            Its exit code, negative is a signal; None if it is not known.
        """
        try:
            code = self._process.wait(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            self._process.kill()
            code = self._process.wait(None)
        self._life.close()
        self._arrays.close()
        return code

    def silence(self, timeout_s: float) -> WorkerFailed:
        """The error for a sub-process that hangs."""
        return WorkerFailed(
            f"the simulator process of {self._name} timed out: {self._doing} took longer than "
            f"{timeout_s:g} s; {RAISE_LIMIT}\n  its output: {self._log_file}"
        )

    def _read(self, size: int) -> bytearray:
        """The next bytes of the reply's arrays."""
        buffer = bytearray(size)
        rest = memoryview(buffer)
        while rest:
            rest = rest[self._arrays.readinto(rest) :]
        return buffer

    def _death(self) -> WorkerFailed:
        code = self.end(time.monotonic() + GRACE_S)
        if code is None:
            how = "its fork server"
        else:
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        words = os.pread(self._last_words.fileno(), 1 << 16, 0).decode(errors="replace").strip()
        hung = words.startswith(HUNG)  # it ended itself, see `request`
        doing = f"{self._doing}, which exceeded its time; {RAISE_LIMIT}" if hung else self._doing
        return WorkerFailed(
            f"the simulator process of {self._name} ended with {how} during {doing}\n"
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
            except (EnvironmentFailure, WorkerFailed) as failure:
                results[index] = failure
    return results
