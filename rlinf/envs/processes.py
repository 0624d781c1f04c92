"""A sub-process that hosts an object, such as a batch of envs, and the messages it is driven by.

::

    owner                                 sub-process (hosted.py)
    HostProcess.request("run_chunk")  ->  calls the object's method
    HostProcess.reply()               <-  its result, or the error it raised

A sub-process begins as the copy of a `Template`, which has imported what it needs. Requests and
small parts of replies are pickled through a socket; the arrays of a reply lie in a file in shared
memory that has no name, so that nothing is left behind whoever is killed.

However the sub-process ends, its last words (the traceback, or where its threads stood when it
crashed or exceeded its time) are in the owner's error.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Mapping, Sequence
from io import FileIO
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from rlinf.envs.template import Template
from rlinf.errors import EnvironmentFailure, UserError, WorkerDied

GRACE_S = 5.0  # what a sub-process that exceeded its time, or was told to end, may still take


class HostProcess:
    """The owner's side of a sub-process; one thread at a time may use it."""

    def __init__(self, name: str, log_file: Path, template: Template) -> None:
        """Begins the sub-process; it is ready once the template is.

        Args:
            name: what it hosts, for messages.
            log_file: what the sub-process prints is appended to it.
            template: what it begins as a copy of.
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
            self._process = template.fork(log_file, descriptors)

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

    def end(self, deadline: float) -> int | None:
        """Waits until the sub-process is gone; at the deadline (`time.monotonic`) it is killed.

        Returns:
            Its exit code, negative is a signal; None if its template ended first.
        """
        try:
            code = self._process.wait(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            self._process.kill()
            code = self._process.wait(None)
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
        if code is None:
            how = "the template that it was a copy of"
        else:
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


def _read(file: FileIO, sizes: Sequence[int]) -> list[bytearray]:
    """The buffers that the sub-process wrote one after the other."""
    file.seek(0)
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        rest = memoryview(buffer)
        while rest:
            rest = rest[file.readinto(rest) :]
    return buffers
