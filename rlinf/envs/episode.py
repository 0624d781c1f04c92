"""Episodes on top of a simulator: chunks, step limits, resets, rewards and results.

This is the only module that knows when an episode ends and what happens then; simulators only
step. An env that ends inside a chunk executes none of the chunk's remaining actions. When the
chunk is over it begins the episode its owner named for that case (partial reset), or waits until
its owner starts it again (fixed episodes).

An observation is rendered once per chunk, after its last action, and once more for ended envs
whose value the learner needs (`EpisodeRules.final`).

A reward that is not finite ends its episode, as a truncated one whose return is not finite either;
no value of its last observation is asked for. So does a running episode that was to be restored by
a simulator that cannot replay: it is dropped, with the next chunk that its env shall move in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np

from rlinf.data.types import ChunkResult, EpisodeResult, Observation, Start
from rlinf.envs.base import Simulator, StepResult
from rlinf.envs.failures import RowFailed
from rlinf.envs.recorder import Recorder
from rlinf.envs.validity import ObservationCheck, check_step, check_tasks
from rlinf.errors import EnvironmentFailure


@dataclass(frozen=True, slots=True)
class EpisodeRules:
    """When episodes end, what their rewards are, and what is kept of them."""

    max_episode_steps: int  # env steps after which an episode is truncated
    task_steps: tuple[int, ...] = ()  # the same for each task, if that is earlier
    ignore_terminations: bool = False  # run to the step limit whatever the task says
    reward_coef: float = 1.0  # factor on the simulator's reward
    use_rel_reward: bool = False  # reward is the change since the step before: s_t - s_{t-1}
    final: Literal["none", "truncated", "always"] = "truncated"  # ends that need their last view
    env_offset: int = 0  # global index of env 0
    record: int = 0  # envs with a global index below this one have every frame recorded


class Frame(NamedTuple):
    """A picture of one env for a person, and what was going on."""

    env: int  # global index
    step: int  # env steps since the episode's start; 0 is the start state
    reward: float  # of this step
    success: bool  # the task is solved in this state
    ended: bool  # the episode is over
    instruction: str
    picture: np.ndarray  # [H, W, 3] uint8


class EnvState(NamedTuple):
    """All it takes to bring an env back: the episode is replayed."""

    start: Start
    actions: np.ndarray  # [n, A] float32 executed since the start
    running: bool  # False: the episode ended, or none was begun; the other fields say nothing


class EnvBatch(Protocol):
    """B envs in chunks, in this process (`EpisodeBatch`) or in others (`hosting.ProcessBatch`)."""

    num_envs: int
    action_dim: int
    tasks: Sequence[str]  # name of each task
    num_trials: int  # starts that each task has; 0 where any seed is a start of its own
    restarts: int  # sub-processes replaced so far

    def start(self, ids: np.ndarray, starts: Sequence[Start]) -> Observation:
        """Begins an episode in each of the envs `ids` ([K] int64) and shows them: [K] rows."""

    def run_chunk(
        self, actions: np.ndarray, active: np.ndarray, next_starts: Sequence[Start | None]
    ) -> ChunkResult:
        """Executes a chunk of C actions in the active envs.

        Args:
            actions: [B, C, A] float32, in the simulator's own units.
            active: [B] bool, running envs that shall move.
            next_starts: [B] the episode each env begins if its own ends in this chunk; None to
                wait.
        """

    def state(self) -> list[EnvState]:
        """What `restore` needs: [B]."""

    def restore(self, states: Sequence[EnvState]) -> Observation:
        """Brings all B envs back by a replay; rows of the running ones.

        Where the simulator cannot replay, the next chunk drops the episodes that have begun.
        """

    def set_record(self, count: int, once: bool = False) -> None:
        """From now on the envs with a global index below `count` are recorded.

        Args:
            once: each of them until the first end of an episode, and no longer.
        """

    def take_frames(self) -> list[Frame]:
        """The frames recorded since the last call; those of each env in order of time."""

    def offload(self) -> None:
        """Frees accelerator memory; running episodes are kept. Only `onload` or `close` follow."""

    def onload(self) -> None:
        """Brings everything back after `offload`."""

    def close(self) -> None:
        """Frees the simulators; it may be called twice."""


@dataclass(slots=True)
class _Books:
    """What is known of the current episode of each of B envs."""

    start: list[Start]
    running: np.ndarray  # [B] bool
    dropped: np.ndarray  # [B] bool, running, but the simulator could not replay it
    elapsed: np.ndarray  # [B] int64, steps since the start
    limit: np.ndarray  # [B] int64, steps since the start after which it is truncated
    score: np.ndarray  # [B] float64, the simulator's last reward
    total: np.ndarray  # [B] float64, sum of rewards
    success_once: np.ndarray  # [B] bool
    success: np.ndarray  # [B] bool, at the last step
    actions: np.ndarray  # [B, max_episode_steps, A] float32, executed since the start

    @staticmethod
    def empty(num_envs: int, max_steps: int, action_dim: int) -> _Books:
        def off() -> np.ndarray:
            return np.zeros(num_envs, bool)

        return _Books(
            start=[Start(0, -1, 0)] * num_envs,
            running=off(),
            dropped=off(),
            elapsed=np.zeros(num_envs, np.int64),
            limit=np.full(num_envs, max_steps),
            score=np.zeros(num_envs),
            total=np.zeros(num_envs),
            success_once=off(),
            success=off(),
            actions=np.zeros((num_envs, max_steps, action_dim), np.float32),
        )

    def begin(self, ids: np.ndarray, starts: Sequence[Start], task_steps: Sequence[int]) -> None:
        for env, start in zip(ids, starts, strict=True):
            self.start[env] = Start(*start)
            if task_steps:
                self.limit[env] = min(task_steps[start.task], self.actions.shape[1])
        self.running[ids], self.dropped[ids] = True, False
        for column in (self.elapsed, self.score, self.total, self.success_once, self.success):
            column[ids] = 0

    def note_actions(self, actions: np.ndarray, goes_on: np.ndarray) -> None:
        """The envs `goes_on` ([B] bool) have executed a whole chunk of actions [B, C, A]."""
        rows = np.flatnonzero(goes_on)
        steps = self.elapsed[rows, None] + np.arange(-actions.shape[1], 0)
        self.actions[rows[:, None], steps] = actions[rows]


@dataclass(slots=True)
class _ChunkArrays:
    """The [B, C] parts of a `ChunkResult` while they are being filled."""

    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    valid: np.ndarray
    final: list[Observation] = field(default_factory=list)
    final_rows: list[np.ndarray] = field(default_factory=list)
    episodes: list[EpisodeResult] = field(default_factory=list)

    @staticmethod
    def empty(num_envs: int, num_actions: int) -> _ChunkArrays:
        def off() -> np.ndarray:
            return np.zeros((num_envs, num_actions), bool)

        return _ChunkArrays(np.zeros((num_envs, num_actions), np.float32), off(), off(), off())


class EpisodeBatch:
    """B envs of one simulator in this process; see `EnvBatch` for its methods."""

    restarts = 0  # there are no sub-processes

    def __init__(self, simulator: Simulator, rules: EpisodeRules) -> None:
        self.num_envs = simulator.num_envs
        self.action_dim = simulator.action_dim
        check_tasks(simulator.tasks)
        self.tasks = simulator.tasks
        self.num_trials = simulator.num_trials
        self._simulator = simulator
        self._rules = rules
        self._books = _Books.empty(self.num_envs, rules.max_episode_steps, self.action_dim)
        self._recorder = Recorder()
        self._check = ObservationCheck()
        self.set_record(rules.record)

    def start(self, ids: np.ndarray, starts: Sequence[Start]) -> Observation:
        ids = np.asarray(ids, np.int64)
        self._reset(ids, starts)
        self._record_starts(ids)
        return self._observe(ids)

    def run_chunk(
        self, actions: np.ndarray, active: np.ndarray, next_starts: Sequence[Start | None]
    ) -> ChunkResult:
        chunk = _ChunkArrays.empty(self.num_envs, actions.shape[1])
        began = active & self._books.running
        dropped = began & self._books.dropped
        live = began & ~dropped
        for i in range(actions.shape[1]):
            if not live.any():
                break
            live = live & ~self._run_action(chunk, i, actions[:, i], live)
        self._books.note_actions(actions, live)
        self._end_dropped(chunk, dropped)
        self._reset_ended(np.flatnonzero(began & ~live), next_starts)
        goes_on = began & self._books.running
        final, final_rows = self._final_observations(chunk)
        return ChunkResult(
            rewards=chunk.rewards,
            terminated=chunk.terminated,
            truncated=chunk.truncated,
            valid=chunk.valid,
            active=goes_on,
            observation=self._observe(np.flatnonzero(goes_on)),
            final=final,
            final_rows=final_rows,
            episodes=tuple(sorted(chunk.episodes, key=lambda episode: episode.env)),
        )

    def state(self) -> list[EnvState]:
        books = self._books
        nothing = EnvState(Start(0, -1, 0), books.actions[0, :0].copy(), running=False)
        return [
            EnvState(books.start[env], books.actions[env, : books.elapsed[env]].copy(), True)
            if books.running[env]
            else nothing
            for env in range(self.num_envs)
        ]

    def restore(self, states: Sequence[EnvState]) -> Observation:
        ids = np.array([env for env, state in enumerate(states) if state.running], np.int64)
        self._books.running[:] = False
        self._reset(ids, [state.start for state in states if state.running])
        lengths = np.array([len(state.actions) if state.running else 0 for state in states])
        for env, state in enumerate(states):
            self._books.actions[env, : lengths[env]] = state.actions[: lengths[env]]
        if not self._simulator.replayable:
            self._books.elapsed, self._books.dropped = lengths, lengths > 0
            return self._observe(ids)
        for i in range(int(lengths.max(initial=0))):
            self._advance(self._books.actions[:, i], lengths > i)
        return self._observe(ids)

    def set_record(self, count: int, once: bool = False) -> None:
        recorded = min(max(count - self._rules.env_offset, 0), self.num_envs)
        self._recorded, self._once = np.arange(self.num_envs) < recorded, once

    def take_frames(self) -> list[Frame]:
        return self._recorder.take()

    def offload(self) -> None:
        self._simulator.offload()

    def onload(self) -> None:
        self._simulator.onload()

    def close(self) -> None:
        self._simulator.close()

    def _reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        if len(ids) == 0:
            return
        try:
            self._simulator.reset(ids, starts)
        except RowFailed as failed:
            start = dict(zip(ids.tolist(), starts, strict=True))[failed.row]
            raise self._failure(failed, f"to reset to {start}") from failed
        self._books.begin(ids, starts, self._rules.task_steps)

    def _reset_ended(self, ended: np.ndarray, next_starts: Sequence[Start | None]) -> None:
        """Begins the next episode of those of the envs `ended` ([K] int64) that have one."""
        following = [(env, start) for env in ended if (start := next_starts[env]) is not None]
        ids = np.array([env for env, _ in following], np.int64)
        self._reset(ids, [start for _, start in following])
        self._record_starts(ids)

    def _run_action(
        self, chunk: _ChunkArrays, i: int, actions: np.ndarray, live: np.ndarray
    ) -> np.ndarray:
        """Executes action i of a chunk in the live envs; returns which of them ended: [B] bool."""
        books = self._books
        rewards, result = self._advance(actions, live)
        broken = ~np.isfinite(rewards)  # the simulation has come apart: it stops here
        stopped = live & ((books.elapsed >= books.limit) | broken)
        terminated = live & result.terminated & (not self._rules.ignore_terminations)
        ended = terminated | stopped
        books.running &= ~ended
        chunk.valid[:, i] = live
        chunk.rewards[:, i] = rewards
        self._record(live, rewards)
        if ended.any():
            truncated = stopped & ~terminated
            chunk.terminated[:, i] = terminated
            chunk.truncated[:, i] = truncated
            # Now, not at the end of the chunk: a batched simulator goes on moving ended envs.
            wanted = {"none": ended & False, "truncated": truncated, "always": ended}
            rows = np.flatnonzero(wanted[self._rules.final] & ~broken)
            if len(rows):
                chunk.final.append(self._observe(rows))
                chunk.final_rows.append(rows)
            chunk.episodes.extend(
                self._result(int(env), bool(terminated[env])) for env in np.flatnonzero(ended)
            )
        return ended

    def _end_dropped(self, chunk: _ChunkArrays, dropped: np.ndarray) -> None:
        """Ends the episodes of the envs `dropped` ([B] bool) without moving them."""
        books = self._books
        books.running &= ~dropped
        books.total[dropped] = np.nan
        chunk.rewards[dropped, 0] = np.nan
        chunk.truncated[dropped, 0] = chunk.valid[dropped, 0] = True
        chunk.episodes.extend(self._result(int(env), False) for env in np.flatnonzero(dropped))

    def _advance(self, actions: np.ndarray, live: np.ndarray) -> tuple[np.ndarray, StepResult]:
        """One simulator step of the live envs and its book-keeping; the rewards are [B] float64."""
        books, rules = self._books, self._rules
        actions = actions.astype(np.float32, copy=False)
        try:
            result = self._simulator.step(actions, live)
            check_step(result, self.num_envs)
        except RowFailed as failed:
            env = failed.row
            raise self._failure(
                failed,
                f"at step {books.elapsed[env] + 1} from {books.start[env]} "
                f"with action {actions[env].tolist()}",
            ) from failed
        books.elapsed += live
        rewards = result.rewards.astype(np.float64)
        if rules.use_rel_reward:
            before, books.score = books.score, np.where(live, rewards, books.score)
            rewards = rewards - before
        rewards = np.where(live, rules.reward_coef * rewards, 0.0)
        books.total += rewards
        books.success = np.where(live, result.success, books.success)
        books.success_once |= books.success
        return rewards, result

    def _observe(self, ids: np.ndarray) -> Observation:
        try:
            observation = self._simulator.observe(ids)
            self._check(observation, ids)
        except RowFailed as failed:
            env = failed.row
            raise self._failure(
                failed, f"to show step {self._books.elapsed[env]} from {self._books.start[env]}"
            ) from failed
        return observation

    def _failure(self, failed: RowFailed, doing: str) -> EnvironmentFailure:
        env = self._rules.env_offset + failed.row
        return EnvironmentFailure(f"env {env} failed {doing}: {failed.__cause__!r}")

    def _result(self, env: int, terminated: bool) -> EpisodeResult:
        books = self._books
        return EpisodeResult(
            env=self._rules.env_offset + env,
            start=books.start[env],
            length=int(books.elapsed[env]),
            episode_return=float(books.total[env]),
            success_once=bool(books.success_once[env]),
            success_at_end=bool(books.success[env]),
            terminated=terminated,
            dropped=bool(books.dropped[env]),
        )

    def _final_observations(self, chunk: _ChunkArrays) -> tuple[Observation, np.ndarray]:
        """`final` and `final_rows` of the chunk, ordered by row."""
        if not chunk.final:
            nothing = np.zeros(0, np.int64)
            return self._observe(nothing), nothing
        rows = np.concatenate(chunk.final_rows)
        order = np.argsort(rows)
        return Observation.concatenate(chunk.final).take(order), rows[order]

    def _record_starts(self, ids: np.ndarray) -> None:
        begun = np.zeros(self.num_envs, bool)
        begun[ids] = True
        self._record(begun, np.zeros(self.num_envs))

    def _record(self, shown: np.ndarray, rewards: np.ndarray) -> None:
        """Keeps a picture of those of the envs `shown` ([B] bool) that are recorded."""
        if self._recorder.given_up:
            return
        ids = np.flatnonzero(shown & self._recorded)
        if len(ids) == 0:
            return
        books = self._books
        texts, pictures = self._simulator.instructions(ids), self._simulator.frames(ids)
        for env, text, picture in zip(ids, texts, pictures, strict=True):
            self._recorder.add(
                Frame(
                    env=self._rules.env_offset + int(env),
                    step=int(books.elapsed[env]),
                    reward=float(rewards[env]),
                    success=bool(books.success[env]),
                    ended=not books.running[env],
                    instruction=text,
                    picture=picture,
                )
            )
        if self._once:
            self._recorded[ids] &= books.running[ids]
