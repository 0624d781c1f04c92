"""The shipped BEHAVIOR configurations train on a stand-in for OmniGibson, in its own Python.

As `test_openvla_configs.py`: only Ray and the sizes differ from a run. The model is tiny; it reads
three pictures and emits 23 numbers, with statistics for each part of the robot.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rlinf.config.load import load
from rlinf.envs.behavior.robot import ACTION, ACTION_DIM, LIMITS
from rlinf.envs.factory import make_batch
from rlinf.workers.actor import ActorWorker
from rlinf.workers.env import train_stage
from rlinf.workers.rollout import RolloutWorker
from tests.behavior import stand_in
from tests.tiny_openvla import UNNORM_KEY, write_folder
from tests.unit.workers.conftest import LocalPolicy, learn
from tests.unit.workers.test_openvla_configs import one_group, reward_one_episode

__all__ = ["one_group"]
SMALL = (
    "cluster.accelerators_per_node=0",
    "cluster.component_placement={env: 0, rollout: 0, actor: 0}",
    "rollout.pipeline_stage_num=1",
    "env.train.total_num_envs=2",
    "env.train.max_episode_steps=16",
    "env.train.init_params.camera_size=[32,32]",
    "env.eval.init_params.camera_size=[32,32]",
    "algorithm.rollout_epoch=1",
    "actor.micro_batch_size=2",
    "actor.global_batch_size=4",
)


def write_model(folder: Path) -> Path:
    """A tiny model whose data set has the name of the published one."""
    write_folder(folder, action_dim=ACTION_DIM)
    low, high = (np.concatenate([LIMITS[part][side] for part in ACTION]) for side in (0, 1))
    settings = json.loads((folder / "config.json").read_text())
    action = {"q01": low.tolist(), "q99": high.tolist(), "mask": [True] * ACTION_DIM}
    usual = settings["norm_stats"].pop(UNNORM_KEY)
    settings["norm_stats"]["behavior_turn_on_radio"] = {**usual, "action": action}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(
    ("name", "dialect"),
    [("behavior_ppo_openvlaoft", "og37"), ("behavior_grpo_openvlaoft", "og_unified")],
)
def test_two_iterations_of_a_shipped_configuration(name: str, dialect: str, tmp_path: Path):
    own = (
        f"actor.model.model_path={write_model(tmp_path / 'model')}",
        f"env.train.python={stand_in(tmp_path, dialect)}",
        f"runner.logger.log_path={tmp_path}",
        *(("env.train.group_size=2",) if "grpo" in name else ()),
    )
    loaded = load(name, [*SMALL, *own])
    config = loaded.config
    assert loaded.plan.train.simulator_processes == 1
    acting = RolloutWorker(config, rank=0, threads=1, log_dir=str(tmp_path))
    learning = ActorWorker(config, 0, 1, 1, 100, lambda refs: refs, str(tmp_path))
    final = config.algorithm.bootstrap if config.algorithm.critic else "none"
    batch = make_batch(config.env.train, 2, 0, final, 1, tmp_path / "env.log")
    between = loaded.plan.train.conversion
    stage = train_stage(config)(config, batch, LocalPolicy(acting), 0, conversion=between)
    for step in range(2):
        trajectories = stage.collect(step, version=step)
        shown = trajectories[0].observation
        assert shown.images.shape[1:] == (3, 32, 32, 3) and shown.state.shape[1:] == (23,)
        reward_one_episode(trajectories)
        assert learn(trajectories, step, learning, acting) == 4
    batch.close()
