"""Episodes of a scripted expert, recorded beside the simulator.

The process that has the simulator has the expert, too. This module and what it imports need NumPy
alone, so that both may run under the simulator's own Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlinf.data.types import Observation, Start
from rlinf.envs.base import Simulator
from rlinf.envs.experts import Demonstrating, Expert
from rlinf.envs.hosting.child import imported
from rlinf.imitation.episode import Episode

BUILD = f"{__name__}:recorder"


def recorder(
    build: str, parameters: Mapping[str, Any], expert: str, rules: Mapping[str, Any]
) -> EpisodeRecorder:
    """A recorder of plain values.

    Args:
        build: `module:function` that makes a simulator of a number of envs and `parameters`.
        expert: `module:function` that makes an expert; see `registry.ExpertSpec`.
        rules: fields of `Demonstrating`.
    """
    return EpisodeRecorder(imported(build)(1, **parameters), expert, Demonstrating(**rules))


class EpisodeRecorder:
    """A simulator of one env, and an expert in it."""

    def __init__(self, simulator: Simulator, expert: str, rules: Demonstrating) -> None:
        self._simulator, self._rules = simulator, rules
        self._make = imported(expert)

    def record(self, start: Start, seed: int) -> tuple[Any, ...]:
        """The fields of an `Episode`.

        Args:
            start: where it begins.
            seed: of the expert's random numbers.
        """
        rng = np.random.default_rng(seed)
        self._simulator.reset(np.zeros(1, np.int64), [start])
        expert = self._make(self._simulator, self._rules, rng)
        found = record_episode(self._simulator, expert, self._rules, rng)
        return tuple(getattr(found, name) for name in Episode.__slots__)

    def close(self) -> None:
        """Frees the simulator."""
        self._simulator.close()


def record_episode(
    simulator: Simulator, expert: Expert, rules: Demonstrating, rng: np.random.Generator
) -> Episode:
    """One episode in env 0, from its present state.

    Every `disturb_every` steps a disturbed action is executed in place of the expert's, so that the
    samples show how to come back (in the spirit of DART, Laskey et al. 2017). Only chunks without
    a disturbance in them become samples.
    """
    only = np.zeros(1, np.int64)
    seen: list[Observation] = []
    actions: list[np.ndarray] = []
    sample_start: list[bool] = []
    solved, idle = False, 0
    last_quiet = rules.disturb_every - rules.chunk  # a chunk that begins later would be disturbed
    quiet = int(rng.integers(0, last_quiet + 1))  # steps since the last disturbance
    while len(actions) < rules.limit and not solved and idle < 2 * rules.chunk:
        seen.append(simulator.observe(only))
        wanted = executed = expert.act()
        disturbed = quiet >= rules.disturb_every and not expert.is_done()
        sample_start.append(not disturbed and quiet <= last_quiet)
        if disturbed:
            executed, quiet = _disturb(wanted, rules.disturbance, rng), -1
        actions.append(wanted)
        quiet += 1
        idle += expert.is_done()
        solved = bool(simulator.step(executed[None], np.ones(1, bool)).success[0])
    return Episode(
        images=np.concatenate([shown.images for shown in seen]),
        state=np.concatenate([shown.state for shown in seen]),
        actions=np.stack(actions),
        sample_start=np.array(sample_start),
        instruction=seen[0].instructions[0],
        success=solved,
    )


def _disturb(action: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Uniform noise of at most `size` on the translation."""
    disturbed = action.copy()
    disturbed[:3] = np.clip(action[:3] + rng.uniform(-size, size, 3), -1.0, 1.0)
    return disturbed
