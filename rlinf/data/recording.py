"""Collects the chunks of one rollout into a Trajectory, as they happen."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlinf.data.types import ActionChunk, ChunkResult, EpisodeResult, Sampled, Trajectory


class Recording:
    """T chunks of B envs being filled. What is never filled stays zero, False, or -1 in `rows`.

    Each env counts its own chunks: one may begin when others are through.
    """

    def __init__(self, chunks: int, envs: int, version: int) -> None:
        self._chunks, self._envs, self._version = chunks, envs, version
        self._observations: list[Any] = []
        self._objects = np.full((chunks, envs), -1, np.int32)
        self._rows = np.full((chunks, envs), -1, np.int32)
        self._filled = np.zeros(envs, np.int64)  # chunks of each env
        self._final_values = np.zeros((chunks, envs), np.float32)
        self._next_values = np.zeros(envs, np.float32)
        self._sampled: Sampled = {}
        self._acted: dict[str, np.ndarray] = {}
        self._happened: dict[str, np.ndarray] = {}
        self._episodes: list[tuple[int, EpisodeResult]] = []  # and the chunk they ended in

    def add(
        self,
        ref: Any,
        rows: np.ndarray,
        moved: np.ndarray,
        envs: np.ndarray,
        chunk: ActionChunk,
        result: ChunkResult,
    ) -> None:
        """Adds the next chunk of some envs.

        Args:
            ref: reference to the observation that was acted on.
            rows: [b] int64, which rows of the observation and of `chunk` are added.
            moved: [b] int64, the same of `result`.
            envs: [b] int64, the envs of this recording that they belong to.
            chunk: what the policy answered.
            result: what the simulator did.
        """
        if chunk.version != self._version:
            raise RuntimeError(f"weights {chunk.version} acted in a rollout of {self._version}")
        t = self._filled[envs]
        self._objects[t, envs] = len(self._observations)
        self._observations.append(ref)
        self._rows[t, envs] = rows
        for name, drawn in chunk.sampled.items():
            self._field(self._sampled, name, drawn)[t, envs] = drawn[rows]
        for name in ("logprobs", "values"):
            given: np.ndarray = getattr(chunk, name)
            self._field(self._acted, name, given)[t, envs] = given[rows]
        for name in ("rewards", "terminated", "truncated", "valid"):
            happened: np.ndarray = getattr(result, name)
            self._field(self._happened, name, happened)[t, envs] = happened[moved]
        self._filled[envs] += 1

    def end(self, env: int, episode: EpisodeResult) -> None:
        """An episode ended in the latest chunk of an env."""
        self._episodes.append((int(self._filled[env]), episode))

    def set_final_values(self, envs: np.ndarray, values: np.ndarray) -> None:
        """V(last observation) of the episodes that the latest chunk ended in the given envs."""
        self._final_values[self._filled[envs] - 1, envs] = values

    def set_next_values(self, envs: np.ndarray, values: np.ndarray) -> None:
        """V of the observation after the latest chunk, of the envs whose episode goes on."""
        self._next_values[envs] = values

    def finish(self) -> Trajectory:
        """The trajectory. At least one chunk was added."""
        ended = sorted(self._episodes, key=lambda one: (one[0], one[1].env))
        return Trajectory(
            observations=self._observations,
            objects=self._objects,
            rows=self._rows,
            final_values=self._final_values,
            next_values=self._next_values,
            episodes=tuple(episode for _, episode in ended),
            version=self._version,
            sampled=self._sampled,
            **self._acted,
            **self._happened,
        )

    def _field(self, fields: dict[str, np.ndarray], name: str, like: np.ndarray) -> np.ndarray:
        """The [T, B, ...] array of a field, made when its first rows arrive."""
        if name not in fields:
            fields[name] = np.zeros((self._chunks, self._envs, *like.shape[1:]), like.dtype)
        return fields[name]
