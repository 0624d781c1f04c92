"""What a replay of running episodes needs: where they began, and every action since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rlinf.data.types import ChunkResult, Start
from rlinf.envs.episode import EnvState


@dataclass(slots=True)
class _Episode:
    start: Start
    actions: list[np.ndarray] = field(default_factory=list)  # [n, A] float32 each


class History:
    """The running episodes of B envs, as their owner sees them from outside."""

    def __init__(self, num_envs: int, action_dim: int) -> None:
        self._nothing = np.zeros((0, action_dim), np.float32)
        self._episodes: list[_Episode | None] = [None] * num_envs

    def restore(self, states: Sequence[EnvState]) -> None:
        """Takes over the history that `states` came from."""
        self._episodes = [
            _Episode(state.start, [state.actions]) if state.running else None for state in states
        ]

    def begin(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        """The envs `ids` ([K] int64) have begun an episode each."""
        for env, start in zip(ids, starts, strict=True):
            self._episodes[env] = _Episode(Start(*start))

    def run(
        self, actions: np.ndarray, result: ChunkResult, next_starts: Sequence[Start | None]
    ) -> None:
        """A chunk of actions ([B, C, A]) was executed as far as `result.valid` says."""
        counts = result.valid.sum(axis=1)
        ended = (result.terminated | result.truncated).any(axis=1)
        for env in np.flatnonzero(counts).tolist():
            episode, following = self._episodes[env], next_starts[env]
            assert episode is not None, f"env {env} moved without an episode"
            if ended[env]:
                self._episodes[env] = _Episode(Start(*following)) if following else None
            else:
                episode.actions.append(actions[env, : counts[env]].astype(np.float32))

    def tasks(self) -> list[int | None]:
        """Task of each env's running episode."""
        return [None if episode is None else episode.start.task for episode in self._episodes]

    def states(self) -> list[EnvState]:
        """What `EnvBatch.restore` needs: [B]."""
        return [self._state(episode) for episode in self._episodes]

    def _state(self, episode: _Episode | None) -> EnvState:
        if episode is None:
            return EnvState(Start(0, -1, 0), self._nothing, running=False)
        executed = np.concatenate([self._nothing, *episode.actions])
        return EnvState(episode.start, executed, running=True)
