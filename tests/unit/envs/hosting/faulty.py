"""Simulators that fail in every way we know; importable, so that sub-processes can build them."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rlinf.data.types import Start
from rlinf.envs.base import StepResult
from rlinf.envs.failures import RowFailed
from rlinf.envs.toy.reach import ToyReach
from rlinf.errors import UserError

ROW = 1  # the env that fails
UNLUCKY = 13  # no reset to this trial comes through


def _broken_contact() -> None:
    raise ArithmeticError("contact solver diverged")


def _env_error() -> None:
    try:
        _broken_contact()
    except ArithmeticError as error:
        raise RowFailed(ROW) from error


def _exit() -> None:
    os._exit(7)


def _leave() -> None:
    raise SystemExit(0)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _crash() -> None:
    ctypes.string_at(0)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def hang() -> None:
    while True:
        time.sleep(1)


def hang_in_native_code() -> None:
    """Like a renderer that hangs: the interpreter is locked, so no Python code of ours runs."""
    ctypes.PyDLL(None).sleep(600)


def _print() -> None:
    print("from Python", flush=True)
    ctypes.CDLL(None).system(b"echo from native code")


FAULTS: dict[str, Callable[[], None]] = {
    "env error": _env_error,
    "bug": _broken_contact,
    "exit": _exit,
    "leave": _leave,
    "kill": _kill,
    "crash": _crash,
    "stop": _stop,
    "hang": hang,
    "native hang": hang_in_native_code,
    "print": _print,
}


class Faulty(ToyReach):
    """Does `fault` at its second step, or at a reset to the unlucky trial."""

    def __init__(self, num_envs: int, fault: str) -> None:
        super().__init__(num_envs, obs_dim=4, action_dim=2)
        self._fault = FAULTS[fault]
        self._steps = 0

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        if any(start.trial == UNLUCKY for start in starts):
            self._fault()
        super().reset(ids, starts)

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        self._steps += 1
        if self._steps == 2:
            self._fault()
        return super().step(actions, active)


class FaultyOnce(Faulty):
    """The first one that is built does `fault`; every later one works."""

    def __init__(self, num_envs: int, fault: str, marker: str) -> None:
        self._marker = Path(marker)
        super().__init__(num_envs, "print" if self._marker.exists() else fault)

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        if self._steps == 1:
            self._marker.touch()
        return super().step(actions, active)


class Drifter(FaultyOnce):
    """Like a simulator on a GPU: no two runs of it are equal, so that it cannot replay."""

    replayable = False

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        noise = np.random.default_rng().normal(0, 1e-3, actions.shape)
        return super().step(actions + noise, active)


class FaultyAtItsEnd(ToyReach):
    """Works, and does `fault` when it is closed, as Isaac Sim's application may."""

    def __init__(self, num_envs: int, fault: str) -> None:
        super().__init__(num_envs, obs_dim=4, action_dim=2)
        self._fault = FAULTS[fault]

    def close(self) -> None:
        self._fault()


class SlowToBuild(ToyReach):
    """The first reset to each task takes `seconds`, as where a scene is built at it."""

    def __init__(self, num_envs: int, seconds: float) -> None:
        super().__init__(num_envs, obs_dim=4, action_dim=2)
        self.tasks = ("one", "two")
        self._seconds, self._built = seconds, set[int]()

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        new = {start.task for start in starts} - self._built
        self._built |= new
        time.sleep(self._seconds * len(new))
        super().reset(ids, starts)


class Unbuildable(ToyReach):
    """Its configuration is wrong."""

    def __init__(self, num_envs: int) -> None:
        raise UserError("env.train.init_params.id = NoTask: there is no such task", "name another")
