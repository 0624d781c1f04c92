"""A stage: sub-envs that move in lock-step, and the two loops that drive one.

B sub-envs of the stage, C actions per chunk, A action dimensions, T chunks per rollout epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import Any, Protocol

import numpy as np

from rlinf.config.schema import Config
from rlinf.data.random import derive
from rlinf.data.recording import Recording
from rlinf.data.types import (
    ActionChunk,
    ActReply,
    ChunkResult,
    EpisodeResult,
    Observation,
    Purpose,
    Start,
    Trajectory,
)
from rlinf.envs.episode import EnvBatch, EnvState
from rlinf.envs.starts import group_indices, training_starts
from rlinf.errors import NumericsError
from rlinf.logging.timeline import Spans

_TRAIN, _EVAL = 0, 1  # keep the noise of training and evaluation apart


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
    ) -> tuple[Any, ActReply]:
        """Actions for `observation`, values for `final`.

        Returns:
            What a trajectory refers to the observation by, and the reply.
        """

    def judge(self, observation: Observation) -> np.ndarray:
        """V of each row: [B] float32."""


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
    ) -> None:
        """
        Args:
            first_env: global index of the first sub-env.
            interrupted: set by another thread, it ends what the stage does with `Interrupted`.
            spans: of the worker, where the stage notes what it does.
        """
        self.spans = spans or Spans("env")
        self.lane = f"envs {first_env} to {first_env + batch.num_envs - 1}"
        self.batch, self.policy = batch, policy
        self.envs = first_env + np.arange(batch.num_envs)  # global indices
        self.active = np.zeros(batch.num_envs, bool)
        self.offloaded = False  # its simulator has left the accelerator
        self.observation = NOTHING
        self.interrupted = interrupted or Event()

    def begin(self, starts: Sequence[Start]) -> None:
        """Starts an episode in the first `len(starts)` envs; the others stay idle."""
        self.active = np.arange(self.batch.num_envs) < len(starts)
        with self.spans.span("reset", self.lane):
            self.observation = self.batch.start(np.flatnonzero(self.active), starts)

    def advance(
        self,
        keys: np.ndarray,
        final: Observation | None,
        purpose: Purpose,
        version: int,
        next_starts: Sequence[Start | None],
    ) -> tuple[Any, np.ndarray, ActReply, ChunkResult]:
        """One exchange: the active envs show themselves, get actions and run them.

        Returns:
            The reference to the observation, the rows that acted, the policy's reply, and what
            the chunk did.
        """
        if self.interrupted.is_set():
            raise Interrupted
        rows = np.flatnonzero(self.active)
        with self.spans.span("wait for the policy", self.lane, busy=False):
            ref, reply = self.policy.act(self.observation, keys[rows], final, purpose, version)
        actions = self._actions(rows, reply.chunk)
        with self.spans.span("simulate", self.lane):
            result = self.batch.run_chunk(actions, self.active, next_starts)
        self.observation, self.active = result.observation, result.active
        return ref, rows, reply, result

    def _actions(self, rows: np.ndarray, chunk: ActionChunk) -> np.ndarray:
        """The policy's actions for all envs, zero for those that did not ask: [B, C, A] float32.

        Raises:
            NumericsError: one is not finite, so it must not reach the simulator.
        """
        finite = np.isfinite(chunk.actions).all(axis=(1, 2))
        if not finite.all():
            raise NumericsError(
                f"the policy's actions for env {self.envs[rows[~finite][0]]} are not finite (after "
                f"{chunk.version} updates): look at train/loss and train/actor/grad_norm, and "
                "lower actor.optim.lr"
            )
        actions = np.zeros((self.batch.num_envs, *chunk.actions.shape[1:]), np.float32)
        actions[rows] = chunk.actions
        return actions


class TrainStage(Stage):
    """Collects trajectories, in either rollout mode.

    With partial reset the episodes run on over iterations; with fixed episodes every rollout epoch
    begins anew, the envs of a group from one start, and ends when all episodes have.
    """

    def __init__(
        self,
        config: Config,
        batch: EnvBatch,
        policy: PolicyService,
        first_env: int,
        interrupted: Event | None = None,
        spans: Spans | None = None,
    ) -> None:
        super().__init__(batch, policy, first_env, interrupted, spans)
        self.env, self.seed = config.env.train, config.actor.seed
        self.chunks = self.env.max_steps_per_rollout_epoch // config.actor.model.num_action_chunks
        self.critic = config.algorithm.critic
        # With partial reset: episodes each env has begun, and what it begins when the present one
        # ends. Drawn when it changes: drawing every env's in every chunk costs as much as a step.
        self.begun = np.zeros(batch.num_envs, np.int64)
        self.upcoming: list[Start | None] = [None] * batch.num_envs

    def collect(self, step: int, version: int, epochs: Sequence[int] = (0,)) -> list[Trajectory]:
        """Rollout epochs of an iteration, one trajectory each."""
        return [self._collect_epoch(step, epoch, version) for epoch in epochs]

    def state(self) -> tuple[list[EnvState], np.ndarray]:
        """What a checkpoint keeps: the running episodes, and how many each env has begun."""
        return self.batch.state(), self.begun.copy()

    def restore(self, states: list[EnvState], begun: np.ndarray) -> None:
        """Continues from `state`; the episodes are simulated again, without rendering."""
        self.batch.take_frames()  # of an iteration that is given up
        self.begun[:] = begun
        if self.env.auto_reset:
            self._draw_upcoming(self._everyone())
        self.active = np.array([state.running for state in states])
        self.observation = self.batch.restore(states)

    def forget(self) -> None:
        """Drops the running episodes and begins as in a new run."""
        nothing = np.zeros((0, self.batch.action_dim), np.float32)
        state = EnvState(Start(0, -1, 0), nothing, running=False)
        self.restore([state] * self.batch.num_envs, np.zeros_like(self.begun))

    def _collect_epoch(self, step: int, epoch: int, version: int) -> Trajectory:
        if not self.env.auto_reset:
            self.begin(self._starts(step, epoch, self._everyone()))
        elif not self.begun.any():
            self.begin(self._starts(0, 0, self._everyone()))
            self._count(self._everyone())
        recording = Recording(self.chunks, self.batch.num_envs, version)
        final, final_rows = None, np.zeros(0, np.int64)
        for t in range(self.chunks):
            if not self.active.any():
                break
            keys = derive(self.seed, _TRAIN, step, epoch, t, self.envs)
            ref, rows, reply, result = self.advance(keys, final, "train", version, self.upcoming)
            recording.set_final_values(final_rows, reply.final_values)  # of the chunk before
            recording.add(ref, rows, reply.chunk, result)
            if self.env.auto_reset:
                self._count(np.flatnonzero((result.terminated | result.truncated).any(axis=1)))
            final, final_rows = result.final if len(result.final) else None, result.final_rows
        self._value_the_end(recording, final, final_rows)
        return recording.finish()

    def _value_the_end(
        self, recording: Recording, final: Observation | None, final_rows: np.ndarray
    ) -> None:
        """Values of what follows the last chunk, in one request, where there is a critic."""
        rows = np.flatnonzero(self.active)
        parts = [self.observation] if self.critic and len(rows) else []
        parts += [final] if final is not None else []
        if parts:
            with self.spans.span("wait for the policy", self.lane, busy=False):
                values = self.policy.judge(Observation.concatenate(parts))
            ends = len(values) - len(final_rows)
            recording.set_next_values(rows[:ends], values[:ends])
            recording.set_final_values(final_rows, values[ends:])

    def _everyone(self) -> np.ndarray:
        return np.arange(self.batch.num_envs)

    def _starts(self, step: int, epoch: int, rows: np.ndarray) -> list[Start]:
        """The start of the next episode of each of the envs `rows` ([K] int64)."""
        indices = group_indices(self.envs[rows], self.env.group_size)
        tasks, trials = len(self.batch.tasks), self.batch.num_trials
        return training_starts(self.env.seed, step, epoch, indices, self.begun[rows], tasks, trials)

    def _count(self, rows: np.ndarray) -> None:
        """The envs `rows` have begun an episode, which takes them one further."""
        self.begun[rows] += 1
        self._draw_upcoming(rows)

    def _draw_upcoming(self, rows: np.ndarray) -> None:
        for row, start in zip(rows.tolist(), self._starts(0, 0, rows), strict=True):
            self.upcoming[row] = start


class EvalStage(Stage):
    """Runs given starts, each exactly once: an env that is through takes the next from the list."""

    def __init__(
        self,
        config: Config,
        batch: EnvBatch,
        policy: PolicyService,
        first_env: int,
        interrupted: Event | None = None,
        spans: Spans | None = None,
    ) -> None:
        super().__init__(batch, policy, first_env, interrupted, spans)
        self.seed = config.actor.seed
        self.shown = config.env.eval.video_cfg.num_envs_shown * config.env.eval.video_cfg.save_video

    def run(
        self,
        starts: Sequence[Start],
        repeat: int,
        version: int,
        keep: Callable[[Sequence[EpisodeResult]], None],
    ) -> list[EpisodeResult]:
        """The episodes of `starts`, dealt out to the envs in turn; `keep` gets each when it ends.

        The noise belongs to (start, repeat, chunk of the episode): how many envs there are and
        which of them gets a start changes nothing.
        """
        size = self.batch.num_envs
        queues = [list(starts[env::size]) for env in range(size)]
        current = [queue.pop(0) for queue in queues if queue]
        self.batch.take_frames()  # of an evaluation that was given up
        self.batch.set_record(self.shown)
        self.begin(current)
        chunks = np.zeros(size, np.int64)  # of the current episode of each env
        episodes: list[EpisodeResult] = []
        while self.active.any():
            keys = np.zeros(size, np.uint64)
            for env in np.flatnonzero(self.active):
                keys[env] = derive(self.seed, _EVAL, *current[env], repeat, chunks[env])
            upcoming = [queue[0] if queue else None for queue in queues]
            *_, result = self.advance(keys, None, "eval", version, upcoming)
            episodes.extend(result.episodes)
            keep(result.episodes)
            if len(episodes) >= size:  # a video of the first episodes is enough
                self.batch.set_record(0)
            chunks += 1
            for env in np.flatnonzero((result.terminated | result.truncated).any(axis=1)):
                if queues[env]:
                    current[env], chunks[env] = queues[env].pop(0), 0
        return episodes
