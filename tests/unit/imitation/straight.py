"""An expert for the toy that another Python can import, too."""

from __future__ import annotations

import numpy as np

from rlinf.envs.experts import Demonstrating
from rlinf.envs.toy.reach import STEP, ToyReach


class StraightToGoal:
    """Knows where the goal is; stops when it is there."""

    def __init__(self, simulator: ToyReach) -> None:
        self._simulator = simulator

    def act(self) -> np.ndarray:
        way = self._simulator._goal[0] - self._simulator._point[0]
        return np.clip(way / STEP, -1, 1).astype(np.float32)

    def is_done(self) -> bool:
        return False


def make(simulator: ToyReach, rules: Demonstrating, rng: np.random.Generator) -> StraightToGoal:
    return StraightToGoal(simulator)
