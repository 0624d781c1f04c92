"""The shipped OpenVLA configurations train, in one process, with a tiny model and a small task.

Simulation, images, policy, advantages, update and new weights are those of a run; only Ray and
the sizes differ.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from rlinf.config.load import load
from rlinf.data.types import Trajectory
from rlinf.envs.factory import make_batch
from rlinf.workers.actor import ActorWorker
from rlinf.workers.env import train_stage
from rlinf.workers.rollout import RolloutWorker
from tests.tiny_openvla import UNNORM_KEY, write_folder
from tests.unit.workers.conftest import LocalPolicy, learn

SMALL = (
    "cluster.accelerators_per_node=0",
    "cluster.component_placement={env: 0, rollout: 0, actor: 0}",
    "rollout.pipeline_stage_num=1",
    "env.train.total_num_envs=2",
    "env.train.max_episode_steps=8",
    "env.eval.total_num_envs=2",
    "algorithm.rollout_epoch=1",
    f"actor.model.unnorm_key={UNNORM_KEY}",
)
MANISKILL = (
    "env@env.train=maniskill_push_cube",
    "env@env.eval=maniskill_push_cube",
    "env.train.init_params.reward_mode=normalized_dense",
)
LIBERO = (
    "env.train.init_params.camera_size=32",
    "env.train.init_params.settle_steps=1",
    "env.eval.init_params.camera_size=32",
)
WITHOUT_LIBERO = pytest.mark.skipif(
    find_spec("robosuite") is None or "LIBERO_ASSETS" not in os.environ,
    reason="needs LIBERO and its assets",
)


@pytest.fixture(autouse=True)
def one_group() -> Iterator[None]:
    """A process has one group of ranks at a time; training in bf16 makes one."""
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "name",
    [
        "maniskill_ppo_openvla",
        "maniskill_ppo_openvlaoft",
        "maniskill_grpo_openvla",
        "maniskill_grpo_openvlaoft",
        pytest.param("libero_10_ppo_openvlaoft", marks=WITHOUT_LIBERO),
        pytest.param("libero_10_grpo_openvlaoft", marks=WITHOUT_LIBERO),
    ],
)
def test_two_iterations_of_a_shipped_configuration(name: str, tmp_path: Path):
    samples = 2 if "oft" in name else 16  # of 2 episodes of 8 steps
    own = (
        f"actor.model.model_path={write_folder(tmp_path / 'model')}",
        f"actor.micro_batch_size={samples // 2}",
        f"actor.global_batch_size={samples}",
        f"runner.logger.log_path={tmp_path}",
        *(("actor.model.lora_path=null",) if "oft" in name else ()),
        *(("env.train.group_size=2",) if "grpo" in name else ()),
        *(("algorithm.filter_rewards=false",) if "libero_10_grpo" in name else ()),
        *(("env.train.max_steps_per_rollout_epoch=8",) if "ppo" in name else ()),
    )
    loaded = load(name, [*SMALL, *(LIBERO if "libero" in name else MANISKILL), *own])
    config = loaded.config
    acting = RolloutWorker(config, rank=0, threads=1, log_dir=str(tmp_path))
    learning = ActorWorker(config, 0, 1, 1, 100, lambda refs: refs, str(tmp_path))
    final = config.algorithm.bootstrap if config.algorithm.critic else "none"
    batch = make_batch(config.env.train, 2, 0, final, 0, tmp_path / "env.log")
    between = loaded.plan.train.conversion
    stage = train_stage(config)(config, batch, LocalPolicy(acting), 0, conversion=between)
    for step in range(2):
        trajectories = stage.collect(step, version=step)
        reward_one_episode(trajectories)
        assert learn(trajectories, step, learning, acting) == samples
    batch.close()


def reward_one_episode(trajectories: list[Trajectory]) -> None:
    """Random weights do not solve a task; without a success there is nothing to learn."""
    for trajectory in trajectories:
        trajectory.rewards[-1, 0, trajectory.valid[-1, 0].argmax()] += 1.0
