"""A stage: sub-envs that move in lock-step, and what every loop that drives one needs.

The loops are in `partial_reset.py`, `fixed_episodes.py` and `evaluation.py`.

B sub-envs of the stage, C actions per chunk, A action dimensions, T chunks per rollout epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Event
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from rlinf.config.schema import Config
from rlinf.data.conventions import AS_IT_IS, Conversion
from rlinf.data.recording import Recording
from rlinf.data.types import (
    ActionChunk,
    ActReply,
    ChunkResult,
    Observation,
    Purpose,
    Start,
    Trajectory,
)
from rlinf.envs.episode import EnvBatch, EnvState
from rlinf.envs.starts import evaluation_trials, group_indices, training_starts
from rlinf.errors import NumericsError, UserError
from rlinf.metrics.timeline import Spans

TRAIN, EVAL = 0, 1  # keep the noise of training and evaluation apart


class Interrupted(Exception):
    """The iteration is given up; what it collected so far is dropped."""


class PolicyService(Protocol):
    """The rollout workers, however they are reached; `RolloutWorker` documents the methods."""

    def act(
        self,
        observation: Observation,
        keys: np.ndarray,
        final: Observation | None,
        purpose: Purpose,
        version: int,
    ) -> ActReply:
        """Actions for `observation`, values for `final`."""

    def value(self, observation: Observation) -> np.ndarray:
        """V of each row: [B] float32."""

    def publish(self, observation: Observation) -> Any:
        """Makes an observation readable for training; returns what a trajectory refers to it by."""


NOTHING = Observation(np.zeros((0, 0, 0, 0, 3), np.uint8), np.zeros((0, 0), np.float32), ())


class Stage:
    """B sub-envs, the observation they show now, and which of them are in an episode."""

    def __init__(
        self,
        batch: EnvBatch,
        policy: PolicyService,
        first_env: int,
        interrupted: Event | None = None,
        spans: Spans | None = None,
        conversion: Conversion = AS_IT_IS,
    ) -> None:
        """
        Args:
            first_env: global index of the first sub-env.
            interrupted: set by another thread, it ends what the stage does with `Interrupted`.
            spans: of the worker, where the stage notes what it does.
            conversion: from the policy's actions to the simulator's.
        """
        self.spans = spans or Spans("env")
        self.lane = f"envs {first_env} to {first_env + batch.num_envs - 1}"
        self.batch, self.policy, self.conversion = batch, policy, conversion
        self.envs = first_env + np.arange(batch.num_envs)  # global indices
        self.active = np.zeros(batch.num_envs, bool)
        self.offloaded = False  # its simulator has left the accelerator
        self.observation = NOTHING
        self.interrupted = interrupted or Event()

    def begin(self, rows: np.ndarray, starts: Sequence[Start]) -> None:
        """Starts an episode in the envs `rows` ([K] int64), which have none."""
        with self.spans.span("reset", self.lane):
            shown = self.batch.start(rows, starts)
        if self.active.any():
            order = np.argsort(np.concatenate([np.flatnonzero(self.active), rows]))
            shown = Observation.concatenate([self.observation, shown]).take(order)
        self.active[rows] = True
        self.observation = shown

    def advance(
        self,
        keys: np.ndarray,
        final: Observation | None,
        purpose: Purpose,
        version: int,
        next_starts: Sequence[Start | None],
    ) -> tuple[Observation, np.ndarray, ActReply, ChunkResult]:
        """One exchange: the active envs show themselves, get actions and run them.

        Returns:
            The observation, the rows that acted, the policy's reply, and what
            the chunk did.
        """
        if self.interrupted.is_set():
            raise Interrupted
        rows = np.flatnonzero(self.active)
        with self.spans.span("wait for the policy", self.lane, busy=False):
            seen = self.observation
            reply = self.policy.act(seen, keys[rows], final, purpose, version)
        actions = self._actions(rows, reply.chunk)
        with self.spans.span("simulate", self.lane):
            result = self.batch.run_chunk(actions, self.active, next_starts)
        self.observation, self.active = result.observation, result.active
        return seen, rows, reply, result

    def _actions(self, rows: np.ndarray, chunk: ActionChunk) -> np.ndarray:
        """The simulator's actions for all envs, zero for those that did not ask: [B, C, A] float32.

        Raises:
            NumericsError: one is not finite, so it must not reach the simulator.
            UserError: the simulator takes actions of another size.
        """
        given, wanted = chunk.actions.shape[2], self.batch.action_dim
        if given != wanted:
            raise UserError(
                f"actor.model.action_dim = {given}: the simulator's actions have {wanted} numbers",
                f"set actor.model.action_dim={wanted}, or another env.*.init_params.control_mode",
            )
        finite = np.isfinite(chunk.actions).all(axis=(1, 2))
        if not finite.all():
            raise NumericsError(
                f"the policy's actions for env {self.envs[rows[~finite][0]]} are not finite (after "
                f"{chunk.version} updates): look at train/loss and train/actor/grad_norm, and "
                "lower actor.optim.lr"
            )
        actions = np.zeros((self.batch.num_envs, *chunk.actions.shape[1:]), np.float32)
        actions[rows] = self.conversion(chunk.actions)
        return actions


class Ended(NamedTuple):
    """Episodes that the latest chunk ended, whose last observation the critic has to value."""

    shown: Observation  # [K] rows
    roles: Roles  # [K]


class Roles(NamedTuple):
    """Where the present episode of each env is recorded."""

    epoch: np.ndarray  # [B] int64, which of the recordings
    env: np.ndarray  # [B] int64, and as which of its envs

    def of(self, rows: np.ndarray) -> Roles:
        """Those of some envs."""
        return Roles(self.epoch[rows], self.env[rows])

    def by_epoch(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each recording, and the indices of the envs that it records: [k] int64."""
        for index in np.unique(self.epoch):
            yield int(index), np.flatnonzero(self.epoch == index)


NONE_ENDED = Ended(NOTHING, Roles(np.zeros(0, np.int64), np.zeros(0, np.int64)))


class TrainStage(Stage, ABC):
    """Collects trajectories; how episodes follow each other is what the rollout modes differ in."""

    def __init__(
        self,
        config: Config,
        batch: EnvBatch,
        policy: PolicyService,
        first_env: int,
        interrupted: Event | None = None,
        spans: Spans | None = None,
        conversion: Conversion = AS_IT_IS,
    ) -> None:
        super().__init__(batch, policy, first_env, interrupted, spans, conversion)
        self.env, self.seed = config.env.train, config.actor.seed
        self.chunks = self.env.max_steps_per_rollout_epoch // config.actor.model.num_action_chunks
        self.critic = config.algorithm.critic
        self.held_out = held_out_trials(config, batch)
        self.shares: np.ndarray | None = None  # [tasks], how likely each is; None: all alike
        self.begun = np.zeros(batch.num_envs, np.int64)  # episodes of each env, over iterations
        # What an env begins when its episode ends inside a chunk; None where it then has none.
        self.upcoming: list[Start | None] = [None] * batch.num_envs

    @abstractmethod
    def collect(self, step: int, version: int, epochs: Sequence[int] = (0,)) -> list[Trajectory]:
        """Rollout epochs of an iteration, one trajectory each."""

    def draw_by(self, shares: np.ndarray | None) -> None:
        """Episodes that begin from now on have their tasks by `shares`: [tasks], or None."""
        self.shares = shares

    def state(self) -> tuple[list[EnvState], np.ndarray]:
        """What a checkpoint holds: the running episodes, and how many each env has begun."""
        return self.batch.state(), self.begun.copy()

    def restore(self, states: list[EnvState], begun: np.ndarray) -> None:
        """Continues from `state`; the episodes are replayed, without rendering."""
        self.batch.take_frames()  # of an iteration that is given up
        self.begun[:] = begun
        self.active = np.array([state.running for state in states])
        self.observation = self.batch.restore(states)

    def forget(self) -> None:
        """Drops the running episodes and begins as in a new run."""
        nothing = np.zeros((0, self.batch.action_dim), np.float32)
        state = EnvState(Start(0, -1, 0), nothing, running=False)
        self.restore([state] * self.batch.num_envs, np.zeros_like(self.begun))

    def _record_chunk(
        self,
        recordings: Sequence[Recording],
        roles: Roles,
        keys: np.ndarray,
        ended: Ended,
        version: int,
    ) -> tuple[Ended, np.ndarray]:
        """One chunk of the active envs.

        Args:
            ended: in the chunk before; their values are asked for in the same request.

        Returns:
            Those that end in this chunk and have to be valued, and all envs whose episode ends.
        """
        final = ended.shown if len(ended.shown) else None
        seen, rows, reply, result = self.advance(keys, final, "train", version, self.upcoming)
        _set_final_values(recordings, ended, reply.final_values)
        acted = roles.of(rows)
        for index, mine in acted.by_epoch():
            recordings[index].add(seen, mine, rows[mine], acted.env[mine], reply.chunk, result)
        for episode in result.episodes:
            row = episode.env - int(self.envs[0])
            env = int(roles.env[row])
            recordings[roles.epoch[row]].end(env, replace(episode, env=int(self.envs[env])))
        over = np.flatnonzero((result.terminated | result.truncated).any(axis=1))
        return Ended(result.final, roles.of(result.final_rows)), over

    def _value_the_end(self, recordings: Sequence[Recording], roles: Roles, ended: Ended) -> None:
        """Values of what follows the last chunk, in one request, where there is a critic."""
        rows = np.flatnonzero(self.active)
        parts = [self.observation] if self.critic and len(rows) else []
        parts += [ended.shown] if len(ended.shown) else []
        if not parts:
            return
        with self.spans.span("wait for the policy", self.lane, busy=False):
            values = self.policy.value(Observation.concatenate(parts))
        ends = len(values) - len(ended.shown)
        going_on = roles.of(rows[:ends])
        for index, mine in going_on.by_epoch():
            recordings[index].set_next_values(going_on.env[mine], values[mine])
        _set_final_values(recordings, ended, values[ends:])

    def _all_rows(self) -> np.ndarray:
        return np.arange(self.batch.num_envs)

    def _starts(self, step: int, epoch: ArrayLike, rows: np.ndarray) -> list[Start]:
        """The start of the next episode of the envs `rows` ([K] int64) of the stage.

        Args:
            epoch: rollout epoch of all of them, or of each.
        """
        indices = group_indices(self.envs[rows], self.env.group_size)
        tasks, trials = len(self.batch.tasks), self.batch.num_trials
        return training_starts(
            self.env.seed,
            step,
            epoch,
            indices,
            self.begun[rows],
            tasks,
            trials,
            self.held_out,
            self.shares,
        )


def held_out_trials(config: Config, batch: EnvBatch) -> np.ndarray | None:
    """Numbered starts that training must not draw, [tasks, n] int64; None to draw from all."""
    evaluated = config.env.eval
    if not (config.env.train.hold_out_evaluation and batch.num_trials):
        return None
    return evaluation_trials(
        evaluated.seed, len(batch.tasks), evaluated.num_trials, batch.num_trials
    )


def _set_final_values(recordings: Sequence[Recording], ended: Ended, values: np.ndarray) -> None:
    for index, mine in ended.roles.by_epoch():
        recordings[index].set_final_values(ended.roles.env[mine], values[mine])
