"""Envs spread over sub-processes, for simulators that cannot step several envs at once.

Each of P sub-processes holds an `EpisodeBatch` of a contiguous share of the B envs, and all work
at the same time: one message to each and one back for a chunk, images in shared memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from rlinf.data.types import ChunkResult, Observation, Start
from rlinf.envs.base import Simulator
from rlinf.envs.episode import EnvState, EpisodeBatch, EpisodeRules, Frame
from rlinf.envs.processes import GRACE_S, HostProcess, replies
from rlinf.errors import WorkerDied

START_TIMEOUT_S = 600.0  # to import, compile shaders, or simulate long episodes again


class ProcessBatch:
    """B envs in sub-processes; see `EnvBatch` for its methods.

    When one sub-process fails all are ended, and the batch is of no further use. Different
    batches may be used by different threads.
    """

    def __init__(
        self,
        make: Callable[[int], Simulator],
        num_envs: int,
        rules: EpisodeRules,
        processes: int,
        log_file: Path,
        step_timeout_s: float,
    ) -> None:
        """Starts the sub-processes and waits until their simulators are built.

        Args:
            make: builds a simulator of the given number of envs; pickled, so an importable
                function or a `partial` of one.
            num_envs: B.
            rules: of all envs; `env_offset` is the global index of the first.
            processes: P, at most; no more than there are envs are started.
            log_file: what the sub-processes print is appended to it.
            step_timeout_s: longest duration of a chunk or a reset, in seconds.
        """
        self.num_envs = num_envs
        rows = np.array_split(np.arange(num_envs), min(processes, num_envs))
        self._shares = [slice(int(share[0]), int(share[-1]) + 1) for share in rows]
        self._step_timeout_s = step_timeout_s
        self._start_timeout_s = max(START_TIMEOUT_S, step_timeout_s)
        self._hosts: list[HostProcess] = []
        builds: list[tuple[Callable[[], _HostedBatch]]] = []
        for share in self._shares:
            own = replace(rules, env_offset=rules.env_offset + share.start)
            last = rules.env_offset + share.stop - 1
            self._hosts.append(HostProcess(f"envs {own.env_offset} to {last}", log_file))
            builds.append((partial(_build, make, share.stop - share.start, own),))
        self._call("build", builds, self._start_timeout_s)
        self.action_dim: int
        self.tasks: Sequence[str]
        self.num_trials: int
        self.action_dim, self.tasks, self.num_trials = self._call("describe")[0]

    def start(self, ids: np.ndarray, starts: Sequence[Start]) -> Observation:
        ids = np.asarray(ids, np.int64)
        picks = [np.flatnonzero((ids >= s.start) & (ids < s.stop)) for s in self._shares]
        parts = self._call(
            "start",
            [
                (ids[pick] - share.start, [starts[int(i)] for i in pick])
                for share, pick in zip(self._shares, picks, strict=True)
            ],
        )
        return _join(parts).take(np.argsort(np.concatenate(picks)))

    def run_chunk(
        self, actions: np.ndarray, active: np.ndarray, next_starts: Sequence[Start | None]
    ) -> ChunkResult:
        parts: list[ChunkResult] = self._call(
            "run_chunk", [(actions[s], active[s], next_starts[s]) for s in self._shares]
        )

        def stack(field: str) -> np.ndarray:
            return np.concatenate([getattr(part, field) for part in parts])

        final_rows = [s.start + p.final_rows for s, p in zip(self._shares, parts, strict=True)]
        return ChunkResult(
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

    def state(self) -> list[EnvState]:
        return list(chain.from_iterable(self._call("state")))

    def restore(self, states: Sequence[EnvState]) -> Observation:
        shares = [(states[s],) for s in self._shares]
        return _join(self._call("restore", shares, self._start_timeout_s))

    def set_record(self, count: int) -> None:
        self._call("set_record", [(count,)] * len(self._shares))

    def take_frames(self) -> list[Frame]:
        return list(chain.from_iterable(self._call("take_frames")))

    def close(self) -> None:
        self._end(GRACE_S)

    def _call(
        self,
        method: str,
        arguments: Sequence[tuple[Any, ...]] | None = None,
        timeout_s: float | None = None,
    ) -> list[Any]:
        """Calls a method in all sub-processes at once; its results in order of the envs."""
        if not self._hosts:
            raise WorkerDied(f"{method}: the simulator processes have ended")
        arguments = arguments or [()] * len(self._hosts)
        timeout_s = timeout_s or self._step_timeout_s
        try:
            for host, own in zip(self._hosts, arguments, strict=True):
                host.request(method, own, timeout_s)
            return replies(self._hosts, timeout_s)
        except BaseException:
            self._end(patience_s=0)  # what they are in the middle of is of no use any more
            raise

    def _end(self, patience_s: float) -> None:
        """Ends all sub-processes, by force those that take longer than `patience_s`."""
        hosts, self._hosts = self._hosts, []
        for host in hosts:
            host.hang_up()
        deadline = time.monotonic() + patience_s
        for host in hosts:
            host.end(deadline)


class _HostedBatch(EpisodeBatch):
    def describe(self) -> tuple[int, Sequence[str], int]:
        return self.action_dim, self.tasks, self.num_trials


def _build(make: Callable[[int], Simulator], num_envs: int, rules: EpisodeRules) -> _HostedBatch:
    """Runs in a sub-process."""
    return _HostedBatch(make(num_envs), rules)


def _join(parts: Sequence[Observation]) -> Observation:
    """Rows of all parts; one without rows does not know the shape of an image."""
    return Observation.concatenate([part for part in parts if len(part)] or parts[:1])
