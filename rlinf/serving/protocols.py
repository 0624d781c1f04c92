"""What is said on a connection: openpi's protocol, and vla-eval's."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from websockets.asyncio.server import ServerConnection

from rlinf.serving.batching import Actions
from rlinf.serving.codec import BadMessage, pack_openpi, pack_vla_eval, unpack

logger = logging.getLogger(__name__)
AskPolicy = Callable[[Mapping[str, Any]], Awaitable[Actions]]
"""From a client's observation, in openpi's names, to the policy's answer."""
Given = TypeVar("Given")
Made = TypeVar("Made")
FAILED = "the policy failed on this observation; the server's log says why"
LARGE = 1 << 17  # bytes whose decoding takes a millisecond or more: it happens in a thread
HELLO_S = 30.0  # in which vla-eval's client has to speak


async def serve_openpi(
    connection: ServerConnection, ask: AskPolicy, about: Mapping[str, Any]
) -> None:
    """The server sends metadata; then each observation is answered with a chunk of actions."""
    await connection.send(pack_openpi(about))
    last: float | None = None
    async for frame in connection:
        begun = time.perf_counter()
        try:
            answer = await ask(await _read(frame))
        except Exception as error:  # noqa: BLE001 - told this client; the others go on
            message = _told(error)
            await connection.send(message)
            await connection.close(1011, message.encode()[:120].decode(errors="ignore"))
            return
        timing = {"infer_ms": (time.perf_counter() - begun) * 1e3}
        if last is not None:
            timing["prev_total_ms"] = last * 1e3
        reply = {
            "actions": answer.actions,
            "server_timing": timing,
            "policy_timing": {"infer_ms": answer.seconds * 1e3},
        }
        await connection.send(pack_openpi(reply))
        last = time.perf_counter() - begun


async def serve_vla_eval(
    connection: ServerConnection, ask: AskPolicy, about: Mapping[str, Any]
) -> None:
    """The client says hello first; a chunk is handed out one action for each observation."""
    chunk: list[np.ndarray] = []
    greeted = False
    while True:
        frame = await asyncio.wait_for(connection.recv(), None if greeted else HELLO_S)
        sequence = 0
        try:
            message = await _read(frame)
            kind, payload = message.get("type"), message.get("payload")
            sequence = message["seq"] if isinstance(message.get("seq"), int) else 0
            if not isinstance(payload, dict):
                raise BadMessage("payload has to be a map")
            if kind == "hello":
                if payload.get("protocol_version") != 1:
                    raise BadMessage("protocol_version has to be 1")
                greeted = True
                reply = ("hello", _greeting(payload, about))
            elif not greeted:
                raise BadMessage("a hello has to come first")
            elif kind in ("episode_start", "episode_end"):
                chunk.clear()
                continue
            elif kind == "observation":
                if not chunk:
                    chunk.extend((await ask(_as_openpi(payload))).actions)
                reply = ("action", {"actions": chunk.pop(0)})
            else:
                raise BadMessage("type has to be hello, episode_start, observation or episode_end")
        except Exception as error:  # noqa: BLE001 - told this client, whose connection stays
            reply = ("error", {"error": _told(error)})
        content = {"type": reply[0], "payload": reply[1], "seq": sequence, "timestamp": time.time()}
        await connection.send(pack_vla_eval(content))


def _greeting(hello: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "harness_version": str(hello.get("harness_version", ""))[:40],
        "protocol_version": 1,
        "model_server": "rlinf",
        "capabilities": {},
        **about,
    }


def _as_openpi(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A vla-eval observation in openpi's names."""
    images = payload.get("images")
    if not isinstance(images, dict):
        raise BadMessage("images has to be a map from camera to picture")
    given = {f"observation/{name}": picture for name, picture in images.items()}
    given["prompt"] = payload.get("task_description", "")
    state = payload.get("state", payload.get("states"))
    if state is not None:
        given["observation/state"] = state
    return given


async def _read(frame: str | bytes) -> dict[str, Any]:
    if isinstance(frame, str):
        raise BadMessage("a text frame came; observations are binary msgpack frames")
    # A picture is small only as long as it is compressed.
    return await unless_quick(len(frame) > LARGE or b"__image__" in frame, unpack, frame)


async def unless_quick(slow: bool, work: Callable[[Given], Made], given: Given) -> Made:
    """Does work at once, or in a thread where it is slow, so that the server answers meanwhile."""
    return await asyncio.to_thread(work, given) if slow else work(given)


def _told(error: Exception) -> str:
    """What the client may know: nothing of this machine."""
    if isinstance(error, BadMessage):
        return f"bad observation: {error}"
    if isinstance(error, TimeoutError):
        return "the deadline passed before the policy had answered; the server is too busy"
    logger.error("a request failed", exc_info=error)
    return FAILED
