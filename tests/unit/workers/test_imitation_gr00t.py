"""Fine-tuning of GR00T on a data set of a robot that a file describes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rlinf.config.load import load
from rlinf.imitation.lerobot.write import Writer
from rlinf.models.gr00t import folder as folders
from rlinf.models.gr00t.config import Gr00tConfig
from rlinf.models.gr00t.policy import Gr00tPolicy
from rlinf.workers.imitation import ImitationWorker
from tests import tiny_gr00t
from tests.unit.imitation.recorded import A, episode

JOINTS = 8  # of the simulator's WidowX


def test_the_head_learns_a_robot_of_ones_own_and_keeps_its_statistics(tmp_path: Path):
    writer = Writer(tmp_path / "set", 20, "png")
    for index in range(4):
        shown = episode(index, 6)
        writer.add(replace(shown, state=np.tile(shown.state, (1, 3))[:, :JOINTS]))
    tags = {"mine": tiny_gr00t.metadata({"robot": JOINTS}, {"arm": A})}
    model = tiny_gr00t.write_folder(tmp_path / "model", tags)
    config = load(
        "maniskill_ppo_gr00t",
        [
            "imitation=lerobot",
            f"imitation.data=[{writer.close()}]",
            f"imitation.cache_dir={tmp_path / 'cache'}",
            "imitation.steps=12",
            "imitation.batch_size=4",
            "imitation.lr=1e-2",
            "imitation.lr_warmup_steps=0",
            "imitation.holdout=0.25",
            f"actor.model.model_path={model}",
            "actor.model.processor_path=null",
            f"actor.model.embodiment={tiny_gr00t.write_embodiment(tmp_path / 'mine.yaml', JOINTS)}",
            "actor.model.precision=fp32",
            "actor.model.num_action_chunks=4",
            f"runner.logger.log_path={tmp_path / 'run'}",
        ],
        purpose="imitate",
    ).config
    assert config.imitation is not None
    learner = ImitationWorker(config, config.imitation.data, 0, 1, threads=1, device="cpu")
    policy = learner.policy
    assert isinstance(policy, Gr00tPolicy) and isinstance(policy.config, Gr00tConfig)
    frozen = {n: p.clone() for n, p in policy.named_parameters() if not p.requires_grad}
    first = learner.train(0, 3).reduce()["sft/flow_loss"]
    last = [learner.train(step, step + 3).reduce() for step in range(3, 12, 3)][-1]
    assert last["sft/flow_loss"] < first
    assert learner.held_out_metrics().reduce()["sft/heldout_action_error"] > 0
    assert all(torch.equal(p, frozen[n]) for n, p in policy.named_parameters() if n in frozen)
    policy.save(tmp_path / "out")
    saved = folders.read(tmp_path / "out", None).statistics("mine")
    shown = learner.learned.action_statistics(policy.horizon)
    assert saved["action"]["arm"]["q99"] == pytest.approx(shown.q99.tolist())
    states = learner.learned.state_statistics()
    assert saved["state"]["robot"]["max"] == pytest.approx(states.maximum.tolist())
    settings = [json.loads((f / "config.json").read_text()) for f in (tmp_path / "out", model)]
    assert settings[0] == settings[1]
