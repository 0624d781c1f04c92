"""Training with partial reset: episodes run on over rollout epochs and iterations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlinf.data.random import derive
from rlinf.data.recording import Recording
from rlinf.data.types import Trajectory
from rlinf.envs.episode import EnvState
from rlinf.workers.stage import NONE_ENDED, TRAIN, Roles, TrainStage


class PartialResetStage(TrainStage):
    """Collects T chunks of every env: one whose episode ends begins the next at once."""

    def collect(self, step: int, version: int, epochs: Sequence[int] = (0,)) -> list[Trajectory]:
        return [self._collect_epoch(step, epoch, version) for epoch in epochs]

    def draw_by(self, shares: np.ndarray | None) -> None:
        super().draw_by(shares)
        if shares is not None:
            self._draw_upcoming(self._all_rows())

    def restore(self, states: list[EnvState], begun: np.ndarray) -> None:
        super().restore(states, begun)
        self._draw_upcoming(self._all_rows())

    def _collect_epoch(self, step: int, epoch: int, version: int) -> Trajectory:
        """T chunks of every env."""
        if not self.begun.any():
            self.begin(self._all_rows(), self._starts(0, 0, self._all_rows()))
            self._count(self._all_rows())
        recordings = [Recording(self.chunks, self.batch.num_envs, version)]
        roles, ended = Roles(np.zeros_like(self.envs), self._all_rows()), NONE_ENDED
        for t in range(self.chunks):
            keys = derive(self.seed, TRAIN, step, epoch, t, self.envs)
            ended, over = self._record_chunk(recordings, roles, keys, ended, version)
            self._count(over)
        self._value_the_end(recordings, roles, ended)
        recordings[0].publish(self.policy.publish)
        return recordings[0].finish()

    def _count(self, rows: np.ndarray) -> None:
        """The envs `rows` have begun an episode, which takes them one further."""
        self.begun[rows] += 1
        self._draw_upcoming(rows)

    def _draw_upcoming(self, rows: np.ndarray) -> None:
        for row, start in zip(rows.tolist(), self._starts(0, 0, rows), strict=True):
            self.upcoming[row] = start
