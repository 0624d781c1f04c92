"""Collects the chunks of one rollout into a Trajectory, as they happen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rlinf.data.types import (
    ActionChunk,
    ChunkResult,
    EpisodeResult,
    Observation,
    Sampled,
    Trajectory,
)


class Recording:
    """T chunks of B envs being filled. What is never filled stays zero, False, or -1 in `rows`.

    Each env counts its own chunks: one may begin when others have ended.
    """

    def __init__(self, chunks: int, envs: int, version: int) -> None:
        self._chunks, self._envs, self._version = chunks, envs, version
        self._seen = SeenRows(chunks * envs)
        self._observation: Any = None  # what stands for them, once they are complete
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
        seen: Observation,
        rows: np.ndarray,
        moved: np.ndarray,
        envs: np.ndarray,
        chunk: ActionChunk,
        result: ChunkResult,
    ) -> None:
        """Adds the next chunk of some envs.

        Args:
            seen: the observation that was acted on.
            rows: [b] int64, which rows of the observation and of `chunk` are added.
            moved: [b] int64, the same of `result`.
            envs: [b] int64, the envs of this recording that they belong to.
            chunk: what the policy answered.
            result: what the simulator did.
        """
        if chunk.version != self._version:
            raise RuntimeError(f"weights {chunk.version} acted in a rollout of {self._version}")
        t = self._filled[envs]
        self._rows[t, envs] = self._seen.add(seen, rows)
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

    def publish(self, publish: Callable[[Observation], Any]) -> None:
        """Hands out what was seen, once: no chunk follows."""
        if self._observation is None:
            self._observation = publish(self._seen.take())

    def finish(self) -> Trajectory:
        """The trajectory. At least one chunk was added, and `publish` was called."""
        assert self._observation is not None, "publish comes first"
        ended = sorted(self._episodes, key=lambda one: (one[0], one[1].env))
        return Trajectory(
            observation=self._observation,
            rows=self._rows,
            final_values=self._final_values,
            next_values=self._next_values,
            episodes=tuple(episode for _, episode in ended),
            version=self._version,
            node=0,  # that of this process, unless the launcher knows better
            sampled=self._sampled,
            **self._acted,
            **self._happened,
        )

    def _field(self, fields: dict[str, np.ndarray], name: str, like: np.ndarray) -> np.ndarray:
        """The [T, B, ...] array of a field, made when its first rows arrive."""
        if name not in fields:
            fields[name] = np.zeros((self._chunks, self._envs, *like.shape[1:]), like.dtype)
        return fields[name]


_NOTHING = np.zeros(0, np.uint8)


class SeenRows:
    """Rows of many observations, collected into one; they are copied once."""

    def __init__(self, most: int) -> None:
        """
        Args:
            most: rows there is room for. Memory is used only for those that are added.
        """
        self._most, self._count = most, 0
        self._images = self._state = _NOTHING
        self._instructions: list[str] = []

    def add(self, observation: Observation, rows: np.ndarray) -> np.ndarray:
        """Adds some rows ([b] int64); returns their places: [b] int64."""
        if not self._count:
            images, state = observation.images, observation.state
            self._images = np.empty((self._most, *images.shape[1:]), images.dtype)
            self._state = np.empty((self._most, *state.shape[1:]), state.dtype)
        places = self._count + np.arange(len(rows))
        self._images[places] = observation.images[rows]
        self._state[places] = observation.state[rows]
        self._instructions += [observation.instructions[row] for row in rows.tolist()]
        self._count += len(rows)
        return places

    def take(self) -> Observation:
        """All rows, in the order in which they were added. None are kept here."""
        taken = Observation(
            self._images[: self._count], self._state[: self._count], tuple(self._instructions)
        )
        self._count, self._images, self._state = 0, _NOTHING, _NOTHING
        self._instructions = []
        return taken
