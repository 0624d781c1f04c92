"""What `rlinf serve` costs beside the policy: from a client's frame to the reply in its hands.

python benchmarks/serve.py --write

The server is a process of its own, as users start it; the clients are connections of this process
that speak openpi's protocol and ask again as soon as they are answered. The overhead of a request
is its time without the policy's own. Of several clients it has the wait for the pass before in it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from websockets.asyncio.client import ClientConnection, connect

from record import record, write
from rlinf.config import portable
from rlinf.config.load import load
from rlinf.models.loading import build_policy, save_policy
from rlinf.serving.codec import pack_openpi, unpack

POLICIES = {"toy": "toy_ppo_mlp", "quickstart": "quickstart"}
CLIENTS = (1, 16)
WARM_UP = 20  # requests that are not counted
TARGET_MS = 2.0  # overhead of one client, median


class Request(NamedTuple):
    """What one request took, in milliseconds."""

    round_trip: float
    policy: float  # the pass that it was part of
    received: int  # bytes of the reply


@contextmanager
def served(name: str, folder: Path) -> Iterator[int]:
    """The port of a server of a policy with random weights."""
    config = load(name, [f"runner.logger.log_path={folder / 'log'}", "imitation=null"]).config
    policy = folder / "policy"
    save_policy(build_policy(config.actor.model, seed=0), config.actor.model, policy)
    portable.write(config, policy)
    command = [str(Path(sys.executable).parent / "rlinf"), "serve", str(policy), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield next(int(m[1]) for line in server.stdout if (m := re.search(r":(\d+) ", line)))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def observation(about: dict[str, Any]) -> bytes:
    """A frame with random pictures and states of the size that a policy expects."""
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {"prompt": "push the cube to the goal"}
    for view in about["views"]:
        given[f"observation/{view}"] = rng.integers(0, 256, (*about["image_size"], 3), np.uint8)
    for name, size in about["state"]:
        given[f"observation/{name}"] = rng.standard_normal(size).astype(np.float32)
    return pack_openpi(given)


async def ask(client: ClientConnection, frame: bytes, count: int) -> list[Request]:
    """Requests one after the other."""
    requests = []
    for _ in range(count):
        begun = time.perf_counter()
        await client.send(frame)
        reply = await client.recv(decode=False)
        ended = time.perf_counter()
        policy = unpack(reply)["policy_timing"]["infer_ms"]
        requests.append(Request(1e3 * (ended - begun), policy, len(reply)))
    return requests


async def measure(port: int, clients: int, count: int) -> dict[str, Any]:
    """All requests of some clients that ask at the same time."""
    address = f"ws://127.0.0.1:{port}"
    opened = [await connect(address, compression=None, max_size=None) for _ in range(clients)]
    about = [unpack(await client.recv(decode=False)) for client in opened]
    frame = observation(about[0])
    await asyncio.gather(*[ask(client, frame, WARM_UP) for client in opened])
    begun = time.perf_counter()
    found = await asyncio.gather(*[ask(client, frame, count // clients) for client in opened])
    seconds = time.perf_counter() - begun
    await asyncio.gather(*[client.close() for client in opened])
    requests = [request for one in found for request in one]
    return {
        "clients": clients,
        "requests": len(requests),
        "request_bytes": len(frame),
        "reply_bytes": requests[0].received,
        "requests_per_second": len(requests) / seconds,
        "round_trip_ms": spread([request.round_trip for request in requests]),
        "policy_ms": spread([request.policy for request in requests]),
        "overhead_ms": spread([request.round_trip - request.policy for request in requests]),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    return {name: float(np.percentile(values, q)) for name, q in (("p50", 50), ("p99", 99))}


def main() -> None:
    """Measures all cases and prints them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1600, help="of each case")
    parser.add_argument("--write", action="store_true", help="keep the numbers in results/")
    arguments = parser.parse_args()
    table = Table("policy", "clients", "bytes", "round trip", "policy", "overhead", "p99", "1/s")
    numbers: dict[str, Any] = {"target_overhead_ms": TARGET_MS, "cases": []}
    for name, config in POLICIES.items():
        with tempfile.TemporaryDirectory() as folder, served(config, Path(folder)) as port:
            for clients in CLIENTS:
                case = {
                    "policy": name,
                    **asyncio.run(measure(port, clients, arguments.requests)),
                }
                numbers["cases"].append(case)
                times = [case[key]["p50"] for key in ("round_trip_ms", "policy_ms", "overhead_ms")]
                table.add_row(
                    *(name, str(clients), f"{case['request_bytes']:,}"),
                    *(f"{value:.2f} ms" for value in [*times, case["overhead_ms"]["p99"]]),
                    f"{case['requests_per_second']:.0f}",
                )
    Console().print(table)
    if arguments.write:
        print(write("serve", record(numbers)))


if __name__ == "__main__":
    main()
