"""Workers in one process: the classes are plain, so no Ray is needed to test them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlinf.config.base import ModelConfig
from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.data.random import Noise, derive
from rlinf.data.shared import SharedMemory
from rlinf.data.types import ActReply, Observation, Purpose, TrainBatch, Trajectory
from rlinf.envs.base import StepResult
from rlinf.envs.factory import make_batch
from rlinf.envs.toy.reach import ToyReach
from rlinf.models.base import Sampling
from rlinf.models.loading import build_policy
from rlinf.runners.samples import make_samples
from rlinf.workers.actor import ActorWorker
from rlinf.workers.env import train_stage
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


N = 23  # samples of `batch_for`: a prime, so that no split over ranks is even


class LocalPolicy:
    """A policy service without a network: the worker is asked directly."""

    def __init__(self, worker: RolloutWorker) -> None:
        self.worker = worker
        self.rows_valued = 0

    def act(
        self,
        observation: Observation,
        keys: np.ndarray,
        final: Observation | None,
        purpose: Purpose,
        version: int,
    ) -> ActReply:
        self.rows_valued += len(final) if final is not None else 0
        return self.worker.act(observation, keys, final, purpose, version)

    def value(self, observation: Observation) -> np.ndarray:
        self.rows_valued += len(observation)
        return self.worker.value(observation)

    def publish(self, observation: Observation) -> Observation:
        return observation


def learn(
    trajectories: Sequence[Trajectory], step: int, actor: ActorWorker, worker: RolloutWorker
) -> int:
    """Advantages, update and new weights, as in a run; returns the number of samples."""
    samples, metrics = make_samples(trajectories, actor.config)
    assert np.isfinite(list(metrics.values())).all()
    found = actor.update(samples, step).reduce()
    # The policy that learns sees what the policy that acted saw.
    # In bf16 they agree to its rounding, since batches of other sizes are summed in other orders.
    rounding = 1e-2 if actor.config.actor.model.precision == "bf16" else 1e-4
    assert found["train/actor/ratio"] == pytest.approx(1.0, abs=rounding)
    assert found["train/actor/grad_norm"] > 0
    weights = actor.weights(None)
    assert weights is not None
    assert worker.load_weights(weights[0]) == step + 1
    return len(samples)


GROUPS = (
    "env.train.auto_reset=false",
    "env.train.max_steps_per_rollout_epoch=20",
    "env.train.group_size=4",
    "env.train.use_fixed_reset_state_ids=true",
    "algorithm.adv_type=grpo",
    "algorithm.loss_type=actor",
    "actor.model.add_value_head=false",
    "actor.global_batch_size=40",
    "actor.micro_batch_size=8",
)


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
        return train_stage(config)(config, batch, LocalPolicy(worker), 0)

    return build


@pytest.fixture
def unequal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of the toy end anywhere between their first step and the limit."""
    step = ToyReach.step

    def ends_anywhere(self: Any, actions: np.ndarray, active: np.ndarray) -> StepResult:
        rewards = step(self, actions, active).rewards
        ended = active & (np.abs(self._point).sum(axis=1) * 7 % 1 < 0.15)
        return StepResult(rewards, ended, ended.copy())

    monkeypatch.setattr(ToyReach, "step", ends_anywhere)


@pytest.fixture
def actor_of(tmp_path: Path) -> Callable[..., ActorWorker]:
    def build(config: Config, rank: int = 0, world: int = 1) -> ActorWorker:
        return ActorWorker(config, rank, world, 1, 100, lambda refs: refs, str(tmp_path))

    return build


def weights_of(actor: ActorWorker) -> np.ndarray:
    """A copy of the trained weights."""
    near, _ = actor.weights(None)
    return SharedMemory.open(near.data).array.copy()


@pytest.fixture
def config_of(toy: Callable[..., Config]) -> Callable[..., Config]:
    """The toy's configuration with another policy and another way to spread it."""

    def build(model: ModelConfig, kl_beta: float = 0.0, **fsdp: Any) -> Config:
        config = toy(
            "algorithm.update_epoch=1",
            f"algorithm.kl_beta={kl_beta}",
            "actor.optim.critic_warmup_steps=1",
            "actor.optim.clip_grad=0.05",  # acts in every update
            "actor.optim.warmup_style=cosine",
            "actor.optim.lr_warmup_steps=2",
        )
        actor = config.actor.model_copy(
            update={
                "model": model,
                "fsdp_config": config.actor.fsdp_config.model_copy(update=fsdp),
                "micro_batch_size": 1,  # ranks then have unequally many passes
                "global_batch_size": N,
            }
        )
        return config.model_copy(update={"actor": actor})

    return build


def batch_for(config: Config) -> TrainBatch:
    """N samples of a policy that has moved since; a third of their actions do not count."""
    random = np.random.default_rng(5)
    images = random.integers(256, size=(N, 1, 32, 32, 3), dtype=np.uint8)
    state = random.normal(size=(N, 6)).astype(np.float32)
    seen = Observation(images, state, ("push the cube", "lift it") * (N // 2) + ("wait",))
    policy = build_policy(config.actor.model, seed=config.actor.seed)
    acted = policy.act(seen, Sampling(), Noise(derive(1, np.arange(N))))
    mask = random.random((N, policy.chunk)) < 2 / 3
    mask[:, 0] |= ~mask.any(axis=1)  # every sample has an action that counts
    moved = 0.3 * random.normal(size=acted.logprobs.shape).astype(np.float32)
    return TrainBatch(
        observations=[seen],
        nodes=[0],
        objects=np.zeros(N, np.int64),
        rows=np.arange(N),
        sampled=acted.sampled,
        logprobs=acted.logprobs + moved,
        advantages=random.normal(size=mask.shape).astype(np.float32),
        returns=random.normal(size=mask.shape).astype(np.float32),
        values=acted.values,
        mask=mask,
        weights=mask.astype(np.float32),
        chunk_weights=np.ones((N, 1), np.float32),
        trained=np.ones(N, bool),
        planned=N,
        version=-1,  # another policy acted, so log-probs need not agree
    )
