"""Questions and answers between two processes, straight over a socket.

A call of a Ray actor costs each side one to two milliseconds of CPU time, as much as the forward
pass of a small policy; a message through a socket costs a tenth of that. Ray stays in charge of
the processes: it starts them, and says where they listen.
"""

from __future__ import annotations

import os
import pickle
import secrets
import socket
import threading
import traceback
from collections.abc import Callable
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from typing import Any, NamedTuple

from rlinf.errors import OWN_ERRORS, WorkerFailed

APART_BYTES = 64 * 1024  # larger arrays follow their message, with one copy less
SILENCE_S = 30  # after which the machine at the other end counts as gone


class Address(NamedTuple):
    """Where a service listens."""

    local: str  # name of a socket that exists on the service's machine only
    remote: tuple[str, int] | None  # host and port for other machines; None where there are none
    key: bytes  # both sides prove that they know it


class _Failed(NamedTuple):
    error: Exception | None  # one of ours, to be raised as it is
    trace: str


def serve(target: Any, host: str | None) -> Address:
    """Answers calls of the methods of `target` from now on, each connection in its own thread.

    Args:
        host: address of this machine as others see it; None serves this machine alone.
    """
    key = secrets.token_bytes(32)
    local = f"\0rlinf-{os.getpid()}-{secrets.token_hex(8)}"  # no file: nothing is left behind
    _listen(Listener(local, "AF_UNIX", backlog=64, authkey=key), target)
    remote = None
    if host is not None:
        listener = Listener((host, 0), "AF_INET", backlog=64, authkey=key)
        remote = (host, int(listener.address[1]))
        _listen(listener, target)
    return Address(local, remote, key)


class Caller:
    """One connection to a service; one thread at a time may use it."""

    def __init__(self, address: Address) -> None:
        """
        Raises:
            WorkerFailed: no process listens there.
        """
        try:
            self._channel = _connect(address)
        except (OSError, EOFError, AuthenticationError) as error:
            raise WorkerFailed(f"the process that answers cannot be reached: {error}") from error

    def ask(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Sends a question; `answer` has to be called before the next one."""
        self._alive(lambda: _send(self._channel, (method, arguments)))

    def answer(self, timeout_s: float) -> Any:
        """Waits for the answer.

        Raises:
            WorkerFailed: the process exited, raised, or took longer than `timeout_s` seconds.
            UserError, EnvironmentFailure, NumericsError: as raised there.
        """
        if not self._alive(lambda: self._channel.poll(timeout_s)):
            raise WorkerFailed(f"timed out after {timeout_s:g} s")
        reply = self._alive(lambda: _receive(self._channel))
        if not isinstance(reply, _Failed):
            return reply
        raise reply.error or WorkerFailed(f"it failed:\n{reply.trace}")

    @staticmethod
    def _alive(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except (OSError, EOFError) as error:
            raise WorkerFailed(f"the process that answers is gone ({error!r})") from error


def _listen(listener: Listener, target: Any) -> None:
    def accept() -> None:
        while True:
            try:
                channel = listener.accept()
            except (OSError, EOFError, AuthenticationError):  # it disconnected, or has no key
                continue
            _prepare(channel)
            threading.Thread(target=_answer, args=(channel, target), daemon=True).start()

    threading.Thread(target=accept, name="service", daemon=True).start()


def _answer(channel: Connection, target: Any) -> None:
    while True:
        try:
            method, arguments = _receive(channel)
        except (OSError, EOFError):
            return
        try:
            reply = getattr(target, method)(*arguments)
        except Exception as error:  # noqa: BLE001 - it is the caller's to handle
            own = error if isinstance(error, OWN_ERRORS) else None
            reply = _Failed(own, traceback.format_exc())
        try:
            _send(channel, reply)
        except OSError:  # the one that asked has ended
            return


def _connect(address: Address) -> Connection:
    try:
        return Client(address.local, "AF_UNIX", authkey=address.key)
    except (ConnectionRefusedError, FileNotFoundError):
        if address.remote is None:
            raise
    channel = Client(address.remote, "AF_INET", authkey=address.key)
    _prepare(channel)
    return channel


def _prepare(channel: Connection) -> None:
    """Options of a TCP connection; those of the same machine need none.

    A message is more than one write, and shall not wait for the first to be confirmed. A machine
    that went away without a word is noticed after `SILENCE_S` seconds.
    """
    with socket.socket(fileno=os.dup(channel.fileno())) as own:
        if own.family == socket.AF_INET:
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, SILENCE_S // 3)
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, SILENCE_S // 6)
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4)
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_S * 1000)


def _send(channel: Connection, message: Any) -> None:
    apart: list[memoryview] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        """Whether a buffer stays inside the message."""
        raw = buffer.raw()
        if raw.nbytes < APART_BYTES:
            return True
        apart.append(raw)
        return False

    body = pickle.dumps(message, protocol=5, buffer_callback=beside)
    channel.send_bytes(pickle.dumps((body, [raw.nbytes for raw in apart])))
    for raw in apart:
        channel.send_bytes(raw)


def _receive(channel: Connection) -> Any:
    body, sizes = pickle.loads(channel.recv_bytes())
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        channel.recv_bytes_into(buffer)
    return pickle.loads(body, buffers=buffers)
