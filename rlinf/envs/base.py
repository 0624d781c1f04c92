"""The one protocol every simulator adapter implements: B envs of one kind, addressed by index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rlinf.data.types import Observation, Start


@dataclass(frozen=True, slots=True)
class StepResult:
    """One simulation step of B envs. Rows that were not active are zero / False."""

    rewards: np.ndarray  # [B] float32, the simulator's own
    terminated: np.ndarray  # [B] bool, the task itself says the episode is over
    success: np.ndarray  # [B] bool, the task is solved in this state


class Simulator(Protocol):
    """B envs of one kind. It knows nothing of chunks, episode limits, groups or policies.

    Step limits, auto-reset and book-keeping are done once for all simulators, in
    `envs/episode.py`. An adapter that cannot step several envs at once loops over them; one that
    cannot step a subset (a batched GPU simulator) gives inactive envs an action that holds still.
    """

    num_envs: int
    action_dim: int
    tasks: Sequence[str]  # name of each task, its instruction where it has just one
    num_trials: int  # starts that each task has; 0 where any seed is a start of its own
    replayable: bool  # equal starts and equal actions give equal bits, in any process

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        """Begins new episodes in the envs `ids` ([K] int64); the others are left untouched."""

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        """One step of the active envs.

        Args:
            actions: [B, A] float32, in the simulator's own units.
            active: [B] bool.
        """

    def observe(self, ids: np.ndarray) -> Observation:
        """Renders and returns the observation of the envs `ids`: [K] rows. Costly: on demand."""

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        """[K] task texts of the present episodes of the envs `ids`; costs nothing."""

    def frames(self, ids: np.ndarray) -> np.ndarray:
        """[K, H, W, 3] uint8 pictures for a person, for videos."""

    def offload(self) -> None:
        """Frees accelerator memory; running episodes are kept. Only `onload` or `close` follow."""

    def onload(self) -> None:
        """Brings everything back after `offload`; otherwise it does nothing."""

    def close(self) -> None:
        """Frees the simulator; it may be called twice."""
