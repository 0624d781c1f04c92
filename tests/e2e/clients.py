"""Episodes in a real simulator whose actions `rlinf serve` gives, through openpi's client."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

from rlinf.config.schema import EnvConfig
from rlinf.data.types import Observation, Start
from rlinf.envs.factory import make_batch
from tests.e2e.runs import HANGS_S, RLINF


@contextmanager
def served(policy: Path, *options: str) -> Iterator[int]:
    """The port of `rlinf serve POLICY`, which a signal ends."""
    command = [str(RLINF), "serve", str(policy), "--port", "0", *options]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield next(int(m[1]) for line in server.stdout if (m := re.search(r":(\d+) ", line)))
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(HANGS_S) == 143


def drive(port: int, env: EnvConfig, episodes: list[dict[str, Any]], log: Path) -> list[Any]:
    """Success and length of each episode, begun as an evaluation's result file says."""
    client = WebsocketClientPolicy("127.0.0.1", port)
    views = client.get_server_metadata()["views"]
    batch = make_batch(env, 1, 0, "none", 0, log)
    one, found = np.ones(1, bool), []
    for episode in episodes:
        start = Start(episode["task"], episode["trial"], episode["seed"])
        shown = batch.start(np.zeros(1, np.int64), [start])
        while True:
            actions = client.infer(_as_openpi(shown, views))["actions"]
            result = batch.run_chunk(actions[None], one, [None])
            if result.episodes:
                found.append((result.episodes[0].success_once, result.episodes[0].length))
                break
            shown = result.observation
    batch.close()
    return found


def _as_openpi(shown: Observation, views: list[str]) -> Mapping[str, Any]:
    pictures = dict(zip(views, shown.images[0], strict=True))
    given = {f"observation/{view}": picture for view, picture in pictures.items()}
    return {**given, "observation/state": shown.state[0], "prompt": shown.instructions[0]}
