"""What a sub-process of `ProcessBatch` hosts: a simulator and its episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.hosting.child import imported

BUILD = f"{__name__}:build"


class HostedBatch(EpisodeBatch):
    """An `EpisodeBatch` that describes itself to its owner."""

    def describe(self) -> tuple[int, tuple[str, ...], int]:
        """A, the tasks, and the starts that each has."""
        return self.action_dim, tuple(self.tasks), self.num_trials


def build(
    simulator: str, parameters: Mapping[str, Any], num_envs: int, rules: EpisodeRules
) -> HostedBatch:
    """Builds a simulator, which `module:function` makes of its number of envs and parameters."""
    return HostedBatch(imported(simulator)(num_envs, **parameters), rules)
