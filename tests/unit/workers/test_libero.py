"""LIBERO's whole way in one process: scenes, images, policy, advantages, update, new weights."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
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


needs_libero = pytest.mark.skipif(
    find_spec("robosuite") is None or "LIBERO_ASSETS" not in os.environ,
    reason="needs LIBERO and its assets",
)


@needs_libero
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


@needs_libero
def test_a_mixture_of_one_task_collects_what_a_run_on_that_task_alone_does(tmp_path: Path):
    folder = f"runner.logger.log_path={tmp_path}"
    collected = []
    for tasks, shares in (("[1,2]", np.array([0.0, 1.0])), ("[2]", None)):
        given = [*SMALL, folder, f"env.train.init_params.task_ids={tasks}"]
        config = load("libero_spatial_ppo_tiny", given).config
        policy = LocalPolicy(RolloutWorker(config, rank=0, threads=1, log_dir=str(tmp_path)))
        batch = make_batch(
            config.env.train, 2, 0, config.algorithm.bootstrap, 0, tmp_path / "env.log"
        )
        stage = train_stage(config)(config, batch, policy, 0)
        stage.draw_by(shares)
        collected.append(stage.collect(0, version=0)[0])
        batch.close()
    mixed, alone = collected
    assert np.array_equal(mixed.observation.images, alone.observation.images)
    assert mixed.observation.instructions == alone.observation.instructions
    for name in ("rewards", "logprobs", "valid", "truncated"):
        assert np.array_equal(getattr(mixed, name), getattr(alone, name)), name
    assert [e.start.task for e in mixed.episodes] == [1] * len(alone.episodes) != []
    ours, theirs = ([(e.start.trial, e.start.seed) for e in t.episodes] for t in collected)
    assert ours == theirs
