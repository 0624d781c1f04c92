"""How the actions of a data set are distributed: what policies scale their tokens with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ActionStatistics:
    """One number per action dimension: [A] float32 each, model units."""

    q01: np.ndarray  # 1 % quantile
    q99: np.ndarray  # 99 % quantile
    minimum: np.ndarray
    maximum: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    actions: int  # that were counted
    episodes: int  # they come from

    @staticmethod
    def of(actions: np.ndarray, episodes: int) -> ActionStatistics:
        """Of actions in rows: [M, A] float32."""
        q01, q99 = np.quantile(actions, [0.01, 0.99], axis=0).astype(np.float32)
        return ActionStatistics(
            q01=q01,
            q99=q99,
            minimum=actions.min(axis=0),
            maximum=actions.max(axis=0),
            mean=actions.mean(axis=0, dtype=np.float64).astype(np.float32),
            std=actions.std(axis=0, dtype=np.float64).astype(np.float32),
            actions=len(actions),
            episodes=episodes,
        )
