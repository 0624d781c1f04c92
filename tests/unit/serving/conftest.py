"""A server in a thread of this process, with a small policy of random weights."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from rlinf.config.load import load
from rlinf.serving.policy import ServedPolicy
from rlinf.serving.server import Limits, Listening, PolicyServer

WAIT_S = 300


class Running:
    """A server, its port, and how to end it."""

    def __init__(self, policy: ServedPolicy, token: str | None, limits: Limits) -> None:
        self.policy = policy
        self.thread = ThreadPoolExecutor(1)
        self.server = PolicyServer(policy, self.thread, Listening(port=0, token=token), limits)
        self.loop = asyncio.new_event_loop()
        self.runner = threading.Thread(target=self.loop.run_forever)
        self.runner.start()
        self.listening = asyncio.run_coroutine_threadsafe(self.server.open(), self.loop).result(
            WAIT_S
        )
        self.port: int = next(iter(self.listening.sockets)).getsockname()[1]

    def close(self) -> None:
        async def end() -> None:
            self.listening.close()
            await self.listening.wait_closed()

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(WAIT_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.runner.join(WAIT_S)
        self.loop.close()
        self.thread.shutdown()


@pytest.fixture(scope="session")
def policies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ServedPolicy]:
    """Policies by configuration."""
    folder = tmp_path_factory.mktemp("runs")

    def policy(name: str, *overrides: str) -> ServedPolicy:
        config = load(name, [f"runner.logger.log_path={folder}", *overrides]).config
        return ServedPolicy(config, Path(name), False, torch.device("cpu"))

    return {"toy": policy("toy_ppo_mlp"), "quickstart": policy("quickstart", "imitation=null")}


@pytest.fixture
def serve(policies: dict[str, ServedPolicy]) -> Iterator[object]:
    """Starts servers, which end with the test."""
    running: list[Running] = []

    def start(name: str = "toy", token: str | None = None, **limits: float) -> Running:
        running.append(Running(policies[name], token, Limits(**limits)))  # type: ignore[arg-type]
        return running[-1]

    yield start
    for one in running:
        one.close()
