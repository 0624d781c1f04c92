"""Envs spread over sub-processes, for simulators that cannot step several envs at once, or that
need a Python of their own.

Each of P sub-processes holds an `EpisodeBatch` of a contiguous share of the B envs, and all work
at the same time: one message to each and one back for a chunk, images in shared memory.

A sub-process that dies, hangs or raises is replaced. The new one replays the running episodes and
does the call that failed once more: nothing is lost and no number changes. A simulator that cannot
replay (`Simulator.replayable`) drops these episodes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from rlinf.data.types import ChunkResult, Observation, Start
from rlinf.envs.episode import EnvState, EpisodeRules, Frame
from rlinf.envs.hosting import hosted
from rlinf.envs.hosting.launchers import obtain, release
from rlinf.envs.hosting.process import GRACE_S, HostProcess, outcomes
from rlinf.envs.hosting.replay import History
from rlinf.errors import EnvironmentFailure, WorkerFailed
from rlinf.registry import Hosting

_log = logging.getLogger(__name__)
FORKED = Hosting()
START_TIMEOUT_S = 600.0  # to import, compile shaders, build scenes, or simulate episodes again


class ProcessBatch:
    """B envs in sub-processes; see `EnvBatch` for its methods.

    When the batch raises, all sub-processes are ended and it is of no further use. Different
    batches may be used by different threads.

    Raises:
        EnvironmentFailure: a sub-process failed `retries + 1` times in a row.
        WorkerFailed: one ended before its simulator had ever shown anything.
    """

    def __init__(
        self,
        build: str,
        parameters: Mapping[str, Any],
        num_envs: int,
        rules: EpisodeRules,
        processes: int,
        log_file: Path,
        step_timeout_s: float,
        retries: int = 0,
        hosting: Hosting = FORKED,
    ) -> None:
        """Starts the sub-processes and waits until their simulators are built.

        Args:
            build: `module:function` that makes a simulator of a number of envs and `parameters`.
            parameters: plain values, see `wire`.
            num_envs: B.
            rules: of all envs; `env_offset` is the global index of the first.
            processes: P, at most; no more than there are envs are started.
            log_file: what the sub-processes print is appended to it.
            step_timeout_s: longest duration of a chunk or a reset, in seconds. The first reset to a
                task, which may build its scene, has `START_TIMEOUT_S` where that is longer.
            retries: how often in a row a sub-process that worked before is replaced.
            hosting: how the sub-processes are started.
        """
        self.num_envs = num_envs
        rows = np.array_split(np.arange(num_envs), min(processes, num_envs))
        self._shares = [slice(int(share[0]), int(share[-1]) + 1) for share in rows]
        self.step_timeout_s = step_timeout_s
        self._start_timeout_s = max(START_TIMEOUT_S, step_timeout_s)
        self._retries, self._log_file = retries, log_file
        self._builds: list[tuple[Any, ...]] = []
        self._names: list[str] = []
        for share in self._shares:
            own = replace(rules, env_offset=rules.env_offset + share.start)
            last = rules.env_offset + share.stop - 1
            self._names.append(f"envs {own.env_offset} to {last}")
            size = share.stop - share.start
            self._builds.append((hosted.BUILD, build, dict(parameters), size, own))
        self._launcher = obtain(hosting, build, log_file)
        self._hosts = [HostProcess(name, log_file, self._launcher) for name in self._names]
        self._failed = [0] * len(self._hosts)  # times in a row, of each sub-process
        self._shown = False  # the simulators have worked: a failure may be an accident
        self._record = (rules.record, False)
        self.restarts = 0
        self._call("build", self._builds, self._start_timeout_s)
        self.action_dim: int
        self.tasks: Sequence[str]
        self.num_trials: int
        self.action_dim, self.tasks, self.num_trials = self._call("describe")[0]
        self._history = History(num_envs, self.action_dim)
        self._built: list[set[int]] = [set() for _ in self._hosts]  # tasks that each was reset to

    def start(self, ids: np.ndarray, starts: Sequence[Start]) -> Observation:
        ids = np.asarray(ids, np.int64)
        picks = [np.flatnonzero((ids >= s.start) & (ids < s.stop)) for s in self._shares]
        own = [[Start(*starts[int(i)]) for i in pick] for pick in picks]
        parts = self._call(
            "start",
            [
                (ids[pick] - share.start, begun)
                for share, pick, begun in zip(self._shares, picks, own, strict=True)
            ],
            self._reset_limit(own),
        )
        self._shown = True
        self._history.begin(ids, starts)
        self._note_tasks()
        return _join(parts).take(np.argsort(np.concatenate(picks)))

    def run_chunk(
        self, actions: np.ndarray, active: np.ndarray, next_starts: Sequence[Start | None]
    ) -> ChunkResult:
        following = [list(next_starts[share]) for share in self._shares]
        parts: list[ChunkResult] = self._call(
            "run_chunk",
            [(actions[s], active[s], own) for s, own in zip(self._shares, following, strict=True)],
            self._reset_limit(following),
        )

        def stack(field: str) -> np.ndarray:
            return np.concatenate([getattr(part, field) for part in parts])

        final_rows = [s.start + p.final_rows for s, p in zip(self._shares, parts, strict=True)]
        result = ChunkResult(
            rewards=stack("rewards"),
            terminated=stack("terminated"),
            truncated=stack("truncated"),
            valid=stack("valid"),
            active=stack("active"),
            observation=_join([part.observation for part in parts]),
            final=_join([part.final for part in parts]),
            final_rows=np.concatenate(final_rows),
            episodes=tuple(chain.from_iterable(part.episodes for part in parts)),
        )
        self._history.run(actions, result, next_starts)
        self._note_tasks()
        return result

    def state(self) -> list[EnvState]:
        return self._history.states()

    def restore(self, states: Sequence[EnvState]) -> Observation:
        shares = [(list(states[s]),) for s in self._shares]
        shown = _join(self._call("restore", shares, self._start_timeout_s))
        self._shown = True
        self._history.restore(states)
        self._note_tasks()
        return shown

    def set_record(self, count: int, once: bool = False) -> None:
        self._record = (count, once)
        self._call("set_record", [self._record] * len(self._shares))

    def take_frames(self) -> list[Frame]:
        return list(chain.from_iterable(self._call("take_frames")))

    def offload(self) -> None:
        self._call("offload")

    def onload(self) -> None:
        self._call("onload")

    def close(self) -> None:
        self._end(GRACE_S)

    def _reset_limit(self, starts: Sequence[Sequence[Start | None]]) -> float:
        """Seconds for a call that may reset envs of each sub-process to `starts`.

        A simulator may build the scene of a task at the first reset to it: with cold caches that
        takes many times what a chunk does, and is no hang.
        """
        for built, own in zip(self._built, starts, strict=True):
            if any(start is not None and start[0] not in built for start in own):
                return self._start_timeout_s
        return self.step_timeout_s

    def _note_tasks(self) -> None:
        tasks = self._history.tasks()
        for built, share in zip(self._built, self._shares, strict=True):
            built.update(task for task in tasks[share] if task is not None)

    def _call(
        self,
        method: str,
        arguments: Sequence[tuple[Any, ...]] | None = None,
        timeout_s: float | None = None,
    ) -> list[Any]:
        """Calls a method in all sub-processes at once; its results in order of the envs."""
        if not self._hosts:
            raise WorkerFailed(f"{method}: the simulator processes have ended")
        arguments = arguments or [()] * len(self._hosts)
        timeout_s = timeout_s or self.step_timeout_s
        try:
            results = self._ask(dict(enumerate(arguments)), method, timeout_s)
            while failed := {i: r for i, r in results.items() if isinstance(r, Exception)}:
                results |= self._restart(failed)
                again = {i: arguments[i] for i in failed if results[i] is None}
                results |= self._ask(again, method, timeout_s)
        except BaseException:
            self._end(patience_s=0)  # what they are in the middle of is of no use any more
            raise
        self._failed = [0] * len(self._hosts)
        return [results[index] for index in range(len(self._hosts))]

    def _ask(
        self, arguments: Mapping[int, tuple[Any, ...]], method: str, timeout_s: float
    ) -> dict[int, Any]:
        """Calls a method in some sub-processes; its result, or how the sub-process failed."""
        results: dict[int, Any] = {}
        for index, own in arguments.items():
            try:
                self._hosts[index].request(method, own, timeout_s)
            except WorkerFailed as failure:
                results[index] = failure
        asked = {i: self._hosts[i] for i in arguments if i not in results}
        return results | outcomes(asked, timeout_s)

    def _restart(self, failed: Mapping[int, Exception]) -> dict[int, Exception | None]:
        """Replaces sub-processes and brings the new ones to where the old ones were.

        Returns:
            None for each that is back, or how it failed again.
        """
        for index, error in failed.items():
            self._failed[index] += 1
            if not self._shown:
                raise error
            if self._failed[index] > self._retries:
                times = f"{self._failed[index]} times in a row"
                raise EnvironmentFailure(f"{self._names[index]} failed {times}:\n{error}")
            _log.warning("%s start again after: %s", self._names[index], error)
            self._hosts[index].hang_up()
            self._hosts[index].end(time.monotonic())
            self._hosts[index] = HostProcess(self._names[index], self._log_file, self._launcher)
            self.restarts += 1
        states = self._history.states()
        steps: list[tuple[str, Callable[[int], tuple[Any, ...]]]] = [
            ("build", lambda i: self._builds[i]),
            ("set_record", lambda i: self._record),
            ("restore", lambda i: (list(states[self._shares[i]]),)),
        ]
        results: dict[int, Exception | None] = dict.fromkeys(failed)
        for method, arguments in steps:
            back = {i: arguments(i) for i, error in results.items() if error is None}
            replies = self._ask(back, method, self._start_timeout_s)
            results |= {i: r if isinstance(r, Exception) else None for i, r in replies.items()}
        return results

    def _end(self, patience_s: float) -> None:
        """Ends all sub-processes, by force those that take longer than `patience_s`."""
        if not self._hosts:
            return
        hosts, self._hosts = self._hosts, []
        for host in hosts:
            host.hang_up()
        deadline = time.monotonic() + patience_s
        for host in hosts:
            host.end(deadline)
        release(self._launcher)


def _join(parts: Sequence[Observation]) -> Observation:
    """Rows of all parts; one without rows does not know the shape of an image."""
    return Observation.concatenate([part for part in parts if len(part)] or parts[:1])
