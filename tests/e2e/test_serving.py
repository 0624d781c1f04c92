"""A trained policy behind `rlinf serve`, driven by openpi's client, beside `rlinf eval`."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

from rlinf.config.validate import read_stored
from rlinf.data.types import Start
from rlinf.envs.factory import make_batch
from tests.e2e.runs import HANGS_S, output_of, start

RUN = (
    "runner.max_steps=20",
    "runner.save_interval=20",
    "runner.val_check_interval=-1",
    "cluster.cpu_slots=1",
)


def test_openpi_client_has_the_success_of_rlinf_eval_on_the_same_starts(tmp_path: Path):
    training = start("train", "toy_ppo_mlp", tmp_path / "run", *RUN)
    print(output_of(training))
    assert training.returncode == 0
    (saved,) = (tmp_path / "run").rglob("global_step_20")
    evaluation = start(
        "eval", "toy_ppo_mlp", tmp_path / "eval", f"runner.ckpt_path={saved}", "cluster.cpu_slots=1"
    )
    print(output_of(evaluation))
    assert evaluation.returncode == 0
    (result,) = (tmp_path / "eval").rglob("step_0.json")
    episodes = json.loads(result.read_text())["episodes"]
    command = [str(Path(sys.executable).parent / "rlinf"), "serve", str(saved.parents[1])]
    server = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = next(int(m[1]) for line in server.stdout if (m := re.search(r":(\d+) ", line)))
        client = WebsocketClientPolicy("127.0.0.1", port)
        found = [
            drive(client, saved, Start(e["task"], e["trial"], e["seed"]), tmp_path)
            for e in episodes
        ]
        assert sum(e["success_once"] for e in episodes) > 0
        assert found == [(e["success_once"], e["length"]) for e in episodes]
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(HANGS_S) == 143


def drive(
    client: WebsocketClientPolicy, checkpoint: Path, begin: Start, log: Path
) -> tuple[bool, int]:
    """Success and length of an episode whose actions the server gives."""
    config = read_stored(checkpoint / "config.json").env.eval
    batch = make_batch(config, 1, 0, "none", 0, log / "simulator.log")
    one = np.ones(1, bool)
    shown = batch.start(np.zeros(1, np.int64), [begin])
    while True:
        given = {"observation/state": shown.state[0], "prompt": shown.instructions[0]}
        actions = client.infer(given)["actions"]
        result = batch.run_chunk(actions[None], one, [None])
        if result.episodes:
            return result.episodes[0].success_once, result.episodes[0].length
        shown = result.observation
