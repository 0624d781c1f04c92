"""What it saves that an env whose episode is complete does not wait for the slowest.

The same rollout epochs of fixed episodes are collected one after the other, and together as the
framework does it. The stage and the policy are real; the simulator shows images, costs nothing, and
ends each episode at a step given beforehand.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from meter import Spent, spend, spread
from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.data.types import ActReply, ChunkResult, Observation, Start, Trajectory
from rlinf.envs.base import StepResult
from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.toy.reach import ToyReach
from rlinf.workers.env import train_stage
from rlinf.workers.rollout import RolloutWorker
from rlinf.workers.stage import TrainStage

CONFIG = "maniskill_grpo_tiny"
SUCCESS = (0.1, 0.5, 0.9)  # share of episodes: early, half way, late in training
SEED = 5


def measure(rounds: int, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Both ways in turns, for each success rate."""
    config = load(CONFIG, [f"runner.logger.log_path={folder}", *overrides]).config
    policy = _Policy(RolloutWorker(config, 0, 1, str(folder)))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # workers leave it to their launcher
    cases = {f"{share:.0%}": _case(share, rounds, config, policy) for share in SUCCESS}
    env = config.env.train
    return {
        "rounds": rounds,
        "seed": SEED,
        "sub_envs": env.total_num_envs,
        "rollout_epochs": config.algorithm.rollout_epoch,
        "success": cases,
    }


def table(numbers: dict[str, Any]) -> Table:
    """One after the other / together, and the share of chunk steps that is saved."""
    shown = Table(
        title=f"{numbers['rollout_epochs']} rollout epochs of {numbers['sub_envs']} sub-envs, one "
        "after the other / together (medians of rounds)"
    )
    for column in ("success", "chunk steps", "saved", "resets", "CPU s"):
        shown.add_column(column, justify="right")
    for share, case in numbers["success"].items():
        alone, together = case["one after the other"], case["together"]
        shown.add_row(
            share,
            f"{alone['chunk_steps']} / {together['chunk_steps']}",
            f"{1 - together['chunk_steps'] / alone['chunk_steps']:.0%}",
            f"{alone['resets']} / {together['resets']}",
            f"{alone['cpu_s']['median']:.2f} / {together['cpu_s']['median']:.2f}",
        )
    return shown


class _Ends(ToyReach):
    """Each episode is solved with probability `share`, in the middle third of its time.

    Where it ends belongs to its start, and to how many episodes have had that start before.
    """

    def __init__(
        self, num_envs: int, share: float, limit: int, image_size: int, action_dim: int
    ) -> None:
        super().__init__(num_envs, action_dim=action_dim, image_size=image_size)
        self._share, self._limit = share, limit
        self._used: Counter[Start] = Counter()
        self._left = np.zeros(num_envs, np.int64)  # steps of the present episode

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        super().reset(ids, starts)
        for env, start in zip(ids, starts, strict=True):
            rng = np.random.default_rng([SEED, start.seed, self._used[start]])
            solved = rng.random() < self._share
            middle = rng.integers(self._limit // 3, 2 * self._limit // 3 + 1)
            self._left[env] = middle if solved else self._limit + 1
            self._used[start] += 1

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        rewards = super().step(actions, active).rewards
        self._left -= active
        ended = active & (self._left <= 0)
        return StepResult(rewards, ended, ended.copy())


class _Counted(EpisodeBatch):
    """Counts the moments for which all envs of a stage wait."""

    chunk_steps = resets = 0

    def start(self, ids: np.ndarray, starts: Sequence[Start]) -> Observation:
        self.resets += 1
        return super().start(ids, starts)

    def run_chunk(
        self, actions: np.ndarray, active: np.ndarray, next_starts: Sequence[Start | None]
    ) -> ChunkResult:
        self.chunk_steps += 1
        return super().run_chunk(actions, active, next_starts)


class _Policy:
    """The policy service without a network."""

    def __init__(self, worker: RolloutWorker) -> None:
        self._worker = worker

    def act(self, *request: Any, **named: Any) -> ActReply:
        return self._worker.act(*request, **named)

    def value(self, observation: Observation) -> np.ndarray:
        return self._worker.value(observation)

    def publish(self, observation: Observation) -> Observation:
        return observation


def _case(share: float, rounds: int, config: Config, policy: _Policy) -> dict[str, Any]:
    epochs = range(config.algorithm.rollout_epoch)
    ways: dict[str, Callable[[TrainStage], list[Trajectory]]] = {
        "one after the other": lambda stage: [
            trajectory for epoch in epochs for trajectory in stage.collect(0, 0, [epoch])
        ],
        "together": lambda stage: stage.collect(0, 0, epochs),
    }
    found: dict[str, Any] = {}
    spent: dict[str, list[Spent]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, collect in ways.items():
            batch = _batch(share, config)
            stage = train_stage(config)(config, batch, policy, 0)
            used = spend(lambda collect=collect, stage=stage: collect(stage))[1]  # type: ignore[misc]
            found[way] = {"chunk_steps": batch.chunk_steps, "resets": batch.resets}
            if turn:  # the first round warms up
                spent[way].append(used)
    for way, all_ in spent.items():
        found[way]["wall_s"] = spread([one.wall_each_s for one in all_])
        found[way]["cpu_s"] = spread([one.cpu_each_s for one in all_])
    return found


def _batch(share: float, config: Config) -> _Counted:
    env, model = config.env.train, config.actor.model
    camera = env.init_params.spaces().image_size
    assert camera is not None, "a policy that sees images"
    limit = env.max_episode_steps
    simulator = _Ends(env.total_num_envs, share, limit, camera[0], model.action_dim)
    return _Counted(simulator, EpisodeRules(limit, final="none"))
