"""Workers in one process: the classes are plain, so no Ray is needed to test them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.data.shared import SharedMemory
from rlinf.data.types import ActReply, Observation, Purpose, Trajectory
from rlinf.envs.factory import make_batch
from rlinf.runners.samples import make_samples
from rlinf.workers.actor import ActorWorker
from rlinf.workers.rollout import RolloutWorker
from rlinf.workers.stage import TrainStage

TOY = (
    "env.train.total_num_envs=8",
    "env.train.max_steps_per_rollout_epoch=30",
    "env.train.max_episode_steps=20",
    "env.eval.total_num_envs=4",
    "actor.model.hidden_dim=16",
    "actor.model.num_action_chunks=2",
    "actor.micro_batch_size=12",
    "actor.global_batch_size=60",
)


class LocalPolicy:
    """A policy service without a network: the worker is asked directly."""

    def __init__(self, worker: RolloutWorker) -> None:
        self.worker = worker
        self.rows_judged = 0

    def act(
        self,
        observation: Observation,
        keys: np.ndarray,
        final: Observation | None,
        purpose: Purpose,
        version: int,
    ) -> tuple[Any, ActReply]:
        self.rows_judged += len(final) if final is not None else 0
        return observation, self.worker.act(observation, keys, final, purpose, version)

    def judge(self, observation: Observation) -> np.ndarray:
        self.rows_judged += len(observation)
        return self.worker.judge(observation)


def learn(
    trajectories: Sequence[Trajectory], step: int, actor: ActorWorker, worker: RolloutWorker
) -> int:
    """Advantages, update and new weights, as in a run; returns the number of samples."""
    samples, metrics = make_samples(trajectories, actor.config)
    assert np.isfinite(list(metrics.values())).all()
    found = actor.update(samples, step).reduce()
    # The policy that learns sees what the policy that acted saw.
    assert found["train/actor/ratio"] == pytest.approx(1.0, abs=1e-4)
    assert found["train/actor/grad_norm"] > 0
    weights = actor.weights(None)
    assert weights is not None
    assert worker.load_weights(weights[0]) == step + 1
    return len(samples)


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., Config]:
    """Configurations of the toy, by overrides."""

    def load_toy(*overrides: str) -> Config:
        folder = f"runner.logger.log_path={tmp_path}"
        return load("toy_ppo_mlp", [*TOY, folder, *overrides]).config

    return load_toy


@pytest.fixture
def stage_of(tmp_path: Path) -> Callable[..., TrainStage]:
    """A training stage of the toy with all its sub-envs and a policy of its own."""

    def build(config: Config) -> TrainStage:
        worker = RolloutWorker(config, rank=0, threads=1, log_dir=str(tmp_path))
        final = config.algorithm.bootstrap if config.algorithm.critic else "none"
        env = config.env.train
        batch = make_batch(env, env.total_num_envs, 0, final, 0, tmp_path / "env.log")
        return TrainStage(config, batch, LocalPolicy(worker), 0)

    return build


@pytest.fixture
def actor_of(tmp_path: Path) -> Callable[..., ActorWorker]:
    def build(config: Config, rank: int = 0, world: int = 1) -> ActorWorker:
        return ActorWorker(config, rank, world, 1, 100, lambda refs: refs, str(tmp_path))

    return build


def weights_of(actor: ActorWorker) -> np.ndarray:
    """A copy of the trained weights."""
    near, _ = actor.weights(None)
    return SharedMemory.open(near.data).array.copy()
