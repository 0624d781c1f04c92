"""One recorded episode: what was seen at each step, and what was wanted there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Episode:
    """L steps of one env."""

    images: np.ndarray  # [L, V, H, W, 3] uint8 RGB, before the action; [L, 0, 0, 0, 3] without
    state: np.ndarray  # [L, S] float32
    actions: np.ndarray  # [L, A] float32, env units: what the demonstrator wanted
    sample_start: np.ndarray  # [L] bool, a chunk to be imitated may begin here
    instruction: str
    success: bool  # the task was solved

    def __len__(self) -> int:
        return len(self.actions)
