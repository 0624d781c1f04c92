"""Settings of `toy_reach`."""

from __future__ import annotations

from rlinf.config.base import Count, Spaces
from rlinf.config.simulator import SimulatorParams


class ToyReachParams(SimulatorParams):
    """A vectorised point-reaching task in numpy, for tests and for measuring the pipeline."""

    obs_dim: Count = 42
    """Size of the state vector."""
    action_dim: Count = 8
    """Size of the action vector."""

    def spaces(self) -> Spaces:
        return Spaces("state", self.obs_dim, None, self.action_dim)

    def processes(self, most: int, on_accelerator: bool) -> int:
        return 0

    def process_bytes(self) -> int:
        return 0
