"""`balance`: hold a weight in the middle of a beam."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlinf.config.base import Spaces
from rlinf.config.simulator import SimulatorParams
from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult
from rlinf.registry import SimulatorSpec


class BalanceParams(SimulatorParams):
    """The weight on its beam."""

    length: float = 1.0
    """Half the length of the beam, in metres."""

    def spaces(self) -> Spaces:
        return Spaces("state", 2, None, 1)

    def processes(self, most: int, on_accelerator: bool) -> int:
        return 0

    def process_bytes(self) -> int:
        return 0


class Balance:
    """B beams; an action of 1 tilts the beam so far that the weight gains 0.1 metres a step."""

    tasks: Sequence[str] = ("hold the weight in the middle",)
    num_trials = 0
    replayable = True
    action_dim = 1

    def __init__(self, num_envs: int, length: float) -> None:
        self.num_envs, self._length = num_envs, length
        self._place, self._speed = np.zeros((2, num_envs), np.float32)

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        seeds = np.array([start.seed for start in starts])
        self._place[ids] = self._length * (Noise(derive(seeds)).uniform(1)[:, 0] * 2 - 1)
        self._speed[ids] = 0

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        self._speed += np.where(active, 0.1 * np.clip(actions[:, 0], -1, 1), 0)
        self._place += np.where(active, self._speed, 0)
        middle = active & (np.abs(self._place) < 0.1)
        fallen = active & (np.abs(self._place) > self._length)
        return StepResult(middle.astype(np.float32), fallen, middle)

    def observe(self, ids: np.ndarray) -> Observation:
        state = np.stack([self._place, self._speed], axis=1)[ids]
        return Observation(
            np.zeros((len(ids), 0, 0, 0, 3), np.uint8), state, self.instructions(ids)
        )

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        return (self.tasks[0],) * len(ids)

    def frames(self, ids: np.ndarray) -> np.ndarray:
        return np.zeros((len(ids), 8, 8, 3), np.uint8)

    def offload(self) -> None:
        """There is nothing on an accelerator."""

    def onload(self) -> None:
        """There is nothing to bring back."""

    def close(self) -> None:
        """Nothing to free."""


SPEC = SimulatorSpec(settings=f"{__name__}:BalanceParams", build=f"{__name__}:Balance")
