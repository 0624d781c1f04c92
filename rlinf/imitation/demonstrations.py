"""Demonstrations as training data: what was seen, and the chunk of actions that followed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlinf.data.statistics import ActionStatistics
from rlinf.data.types import Observation


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """N samples of C actions each, from `episodes` episodes."""

    images: np.ndarray  # [N, V, H, W, 3] uint8
    state: np.ndarray  # [N, S] float32
    instruction: str  # of all samples
    actions: np.ndarray  # [N, C, A] float32, env units; the last one is repeated past the end
    values: np.ndarray  # [N] float32, discounted return from here on
    episodes: int
    success: float  # share of the episodes that solved the task

    def __len__(self) -> int:
        return len(self.actions)

    def observation(self, rows: np.ndarray) -> Observation:
        """What the samples `rows` ([n] int64) saw."""
        return Observation(self.images[rows], self.state[rows], (self.instruction,) * len(rows))

    def action_statistics(self) -> ActionStatistics:
        """Of the actions of all samples."""
        return ActionStatistics.of(self.actions.reshape(-1, self.actions.shape[-1]), self.episodes)

    @staticmethod
    def concatenate(parts: Sequence[Demonstrations]) -> Demonstrations:
        """The samples of all parts, in order."""
        episodes = sum(part.episodes for part in parts)
        return Demonstrations(
            images=np.concatenate([part.images for part in parts]),
            state=np.concatenate([part.state for part in parts]),
            instruction=parts[0].instruction,
            actions=np.concatenate([part.actions for part in parts]),
            values=np.concatenate([part.values for part in parts]),
            episodes=episodes,
            success=sum(part.success * part.episodes for part in parts) / episodes,
        )

    def save(self, path: Path) -> None:
        """Writes an npz file."""
        np.savez(
            path,
            images=self.images,
            state=self.state,
            instruction=np.array(self.instruction),
            actions=self.actions,
            values=self.values,
            episodes=self.episodes,
            success=self.success,
        )

    @staticmethod
    def load(path: Path) -> Demonstrations:
        """Reads what `save` wrote."""
        with np.load(path) as file:
            return Demonstrations(
                images=file["images"],
                state=file["state"],
                instruction=str(file["instruction"]),
                actions=file["actions"],
                values=file["values"],
                episodes=int(file["episodes"]),
                success=float(file["success"]),
            )
