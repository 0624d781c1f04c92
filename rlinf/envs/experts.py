"""What a scripted expert is, and what it is asked for; each simulator has its own.

Read by the simulator's own Python where it has one: this module needs NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Demonstrating:
    """How an expert demonstrates; `config.imitation.ImitationConfig` says more."""

    chunk: int  # C, actions of a sample
    limit: int  # steps of an episode
    disturbance: float = 0.0  # largest, of 1
    disturb_every: int = 7  # undisturbed steps between two disturbances
    sound_share: float = 1.0  # of the demonstrations without the expert's flaw
    flaw: tuple[float, float] = (0.0, 0.0)  # range that the flaw is drawn from


class Expert(Protocol):
    """A scripted policy for one episode; it reads the simulator's privileged state."""

    def act(self) -> np.ndarray:
        """The next action: [A] float32, env units."""

    def is_done(self) -> bool:
        """Whether it has nothing more to do and stands still."""
