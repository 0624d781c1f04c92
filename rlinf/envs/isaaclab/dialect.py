"""What the adapter asks of a simulator: one class for each of its versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rlinf.envs.isaaclab.rotations import Order

JUDGED = "rlinf"
"""Observation group that holds what were termination terms, `success` among them."""
ENDLESS_S = 1e6
"""Seconds after which the simulator itself would end an episode; step limits are ours."""


class Dialect(Protocol):
    """A running env of B rows. Observations are what the simulator gives: group -> terms."""

    num_envs: int
    action_dim: int
    quaternion: Order

    def reset_all(self, seed: int) -> Mapping[str, Any]:
        """Begins an episode in every row; the observations of all rows."""

    def reset(self, rows: np.ndarray, seeds: Sequence[int]) -> Mapping[str, Any]:
        """Begins an episode in some rows ([K] int64); the observations of all rows.

        What a row draws depends on its own seed alone, whatever other rows begin with it.
        """

    def step(self, actions: np.ndarray) -> tuple[Mapping[str, Any], np.ndarray]:
        """One step of all rows with actions [B, A]; observations, the simulator's reward [B]."""

    def keep(self) -> Any:
        """The physical state of all rows, for `put_back`."""

    def put_back(self, state: Any, rows: np.ndarray) -> Mapping[str, Any]:
        """Rows ([K] int64) go back to a state that was kept; the observations of all rows."""

    def cameras(self) -> tuple[str, ...]:
        """Names of what `pictures` may be asked for, other sensors of the scene among them."""

    def pictures(self, camera: str) -> np.ndarray:
        """Draws with a camera of the scene: [B, H, W, 3] uint8."""

    def numpy(self, term: Any) -> np.ndarray:
        """A copy of an observation term: simulators write into the same buffer every step."""

    def close(self) -> None:
        """Ends the simulator; it may be called twice."""
