"""`rlinf serve`: listens for clients and ends on a signal."""

from __future__ import annotations

import asyncio
import hmac
import http
import ipaddress
import json
import signal
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from rlinf.data.random import derive
from rlinf.errors import UserError
from rlinf.serving.batching import Actions, Batcher
from rlinf.serving.policy import ServedPolicy
from rlinf.serving.protocols import LARGE, serve_openpi, serve_vla_eval, unless_quick

PROTOCOLS = {"/": serve_openpi, "/vla-eval": serve_vla_eval}


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may use."""

    batch: int = 16  # rows of one forward pass
    clients: int = 64
    message_bytes: int = 16 * 2**20
    deadline_s: float = 30.0
    ping_s: float | None = 20.0


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens, and what clients have to know to come in."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None


class PolicyServer:
    """Answers clients of both protocols with one policy."""

    def __init__(
        self, policy: ServedPolicy, thread: ThreadPoolExecutor, address: Listening, limits: Limits
    ) -> None:
        self.policy, self.address, self.limits = policy, address, limits
        self.about = policy.metadata()
        self._first = {"/": self.about, "/vla-eval": policy.specs()}  # first frame
        self.batcher = Batcher(policy.act, thread, limits.batch, limits.deadline_s)
        self.connected: set[ServerConnection] = set()
        self._numbers = count()

    async def open(self) -> Server:
        """Begins to listen.

        Raises:
            UserError: the port is taken, or the address is none of this machine.
        """
        limits = self.limits
        try:
            return await serve(
                self._handle,
                self.address.host,
                self.address.port,
                process_request=self._gate,
                origins=[None],  # no web page of a browser on this machine
                compression=None,
                max_size=limits.message_bytes,
                max_queue=1,
                ping_interval=limits.ping_s,
                ping_timeout=limits.ping_s,
                close_timeout=5,
                server_header=None,
            )
        except OSError as error:
            raise UserError(
                f"--host {self.address.host} --port {self.address.port}: {error.strerror}",
                "end what listens there, or choose another: --port 0 takes a free one",
            ) from error

    def _gate(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers requests that are no websocket, and refuses who may not come in."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if not self._may(request.headers):
            return connection.respond(http.HTTPStatus.UNAUTHORIZED, "wrong or missing API key\n")
        if path == "/metadata":
            return connection.respond(http.HTTPStatus.OK, json.dumps(self.about) + "\n")
        if path not in PROTOCOLS:
            paths = ", ".join([*PROTOCOLS, "/healthz", "/metadata"])
            return connection.respond(http.HTTPStatus.NOT_FOUND, f"there are {paths}\n")
        if len(self.connected) >= self.limits.clients:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n")
        return None

    def _may(self, headers: Headers) -> bool:
        if self.address.token is None:
            return True
        given = headers.get_all("Authorization")
        wanted = f"Api-Key {self.address.token}".encode()
        return len(given) == 1 and hmac.compare_digest(given[0].encode(), wanted)

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None, "the handshake is over"
        if len(self.connected) >= self.limits.clients:  # others came in since the gate
            await connection.close(1013, "too many clients")
            return
        self.connected.add(connection)
        path = connection.request.path.partition("?")[0]
        client, chunks = next(self._numbers), count()

        async def ask(given: Mapping[str, Any]) -> Actions:
            seed = self.policy.config.actor.seed
            key = int(derive(seed, client, next(chunks)))
            size = sum(value.nbytes for value in given.values() if isinstance(value, np.ndarray))
            row = await unless_quick(size > LARGE, self.policy.expected.observation, given)
            return await self.batcher.ask(row, key)

        try:
            await PROTOCOLS[path](connection, ask, self._first[path])
        except (ConnectionClosed, TimeoutError):
            return
        finally:
            self.connected.discard(connection)


async def run(server: PolicyServer, opened: Callable[[int], None]) -> int:
    """Serves until a signal comes; returns the exit code.

    Args:
        opened: called with the port once clients can connect.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(number: int) -> None:
        if not ended.done():
            ended.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end, number)
    listening = await server.open()
    opened(next(iter(listening.sockets)).getsockname()[1])
    await ended
    listening.close()
    await listening.wait_closed()
    return 128 + ended.result()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
