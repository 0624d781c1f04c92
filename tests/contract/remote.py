"""A simulator of another Python, for the conformance tests: every call goes to its process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlinf.data.types import Observation, Start
from rlinf.envs.base import Simulator, StepResult
from rlinf.envs.hosting.child import imported
from rlinf.envs.hosting.interpreter import Interpreter
from rlinf.envs.hosting.process import GRACE_S, HostProcess
from rlinf.registry import Hosting

TIMEOUT_S = 1500.0  # compiles kernels where nothing was compiled before


class There:
    """In the simulator's process: the same calls with plain results."""

    def __init__(self, build: str, num_envs: int, settings: dict[str, Any]) -> None:
        self.simulator: Simulator = imported(build)(num_envs, **settings)

    def describe(self) -> tuple[Any, ...]:
        it = self.simulator
        return it.num_envs, it.action_dim, tuple(it.tasks), it.num_trials, it.replayable

    def step(self, actions: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, ...]:
        result = self.simulator.step(actions, active)
        return result.rewards, result.terminated, result.success

    def __getattr__(self, name: str) -> Any:
        return getattr(self.simulator, name)


class Remote:
    """Here: a `Simulator`."""

    def __init__(
        self, hosting: Hosting, build: str, num_envs: int, settings: dict[str, Any], log: Path
    ) -> None:
        where = f"{__name__}:There"
        self._host = HostProcess(build, log, Interpreter(hosting, where))
        self._open = True
        self._call("build", where, build, num_envs, settings)
        described = self._call("describe")
        self.num_envs, self.action_dim, self.tasks, self.num_trials, self.replayable = described

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        self._call("reset", ids, list(starts))

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        return StepResult(*self._call("step", actions, active))

    def observe(self, ids: np.ndarray) -> Observation:
        shown: Observation = self._call("observe", ids)
        return shown

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        return tuple(self._call("instructions", ids))

    def frames(self, ids: np.ndarray) -> np.ndarray:
        pictures: np.ndarray = self._call("frames", ids)
        return pictures

    def offload(self) -> None:
        self._call("offload")

    def onload(self) -> None:
        self._call("onload")

    def close(self) -> None:
        if self._open:
            self._call("close")
            self._open = False
            self._host.hang_up()
            self._host.end(time.monotonic() + GRACE_S)

    def _call(self, member: str, *arguments: Any) -> Any:
        self._host.request(member, arguments, TIMEOUT_S)
        return self._host.reply()
