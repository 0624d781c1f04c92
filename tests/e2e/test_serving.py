"""A trained policy behind `rlinf serve`, driven by openpi's client, beside `rlinf eval`."""

from __future__ import annotations

import json
from pathlib import Path

from rlinf.config.validate import read_stored
from tests.e2e.clients import drive, served
from tests.e2e.runs import output_of, start

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
    with served(saved.parents[1]) as port:
        env = read_stored(saved / "config.json").env.eval
        found = drive(port, env, episodes, tmp_path / "simulator.log")
    assert sum(e["success_once"] for e in episodes) > 0
    assert found == [(e["success_once"], e["length"]) for e in episodes]
