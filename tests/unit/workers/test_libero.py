"""LIBERO's whole way in one process: scenes, images, policy, advantages, update, new weights."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from rlinf.config.load import load
from rlinf.envs.factory import make_batch
from rlinf.workers.actor import ActorWorker
from rlinf.workers.env import train_stage
from rlinf.workers.rollout import RolloutWorker
from tests.unit.workers.conftest import LocalPolicy, learn

SMALL = (
    "imitation=null",
    "env.train.init_params.camera_size=32",
    "env.train.init_params.settle_steps=1",
    "env.eval.init_params.camera_size=32",
    "env.train.total_num_envs=2",
    "env.train.max_episode_steps=12",
    "env.train.max_steps_per_rollout_epoch=16",  # two chunks; the second truncates after its half
    "env.train.use_rel_reward=false",
    "actor.micro_batch_size=2",
    "actor.global_batch_size=4",
    "algorithm.update_epoch=1",
)


@pytest.mark.skipif(
    find_spec("robosuite") is None or "LIBERO_ASSETS" not in os.environ,
    reason="needs LIBERO and its assets",
)
def test_two_iterations_of_the_tiny_configuration_train_the_policy_that_acts(tmp_path: Path):
    folder = f"runner.logger.log_path={tmp_path}"
    config = load("libero_spatial_ppo_tiny", [*SMALL, folder]).config
    worker = RolloutWorker(config, rank=0, threads=1, log_dir=str(tmp_path))
    actor = ActorWorker(config, 0, 1, 1, 100, lambda refs: refs, str(tmp_path))
    batch = make_batch(config.env.train, 2, 0, config.algorithm.bootstrap, 0, tmp_path / "env.log")
    stage = train_stage(config)(config, batch, LocalPolicy(worker), 0)
    shown = []
    for step in range(2):
        trajectories = stage.collect(step, version=step)
        (trajectory,) = trajectories
        # [T, B, C]: 8 steps, then 4 until the limit; the new episode waits for its own chunk.
        assert trajectory.valid.sum(axis=2).tolist() == [[8, 8], [4, 4]]
        images = trajectory.observation.images
        assert images.shape == (4, 1, 32, 32, 3) and images.std() > 10
        shown.append(images)
        assert learn(trajectories, step, actor, worker) == 4
    assert (shown[0] != shown[1]).any()
    batch.close()
