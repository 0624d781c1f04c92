"""Scripted experts that read the simulator's privileged state."""

from __future__ import annotations

import numpy as np

from rlinf.envs.base import Simulator
from rlinf.envs.experts import Demonstrating
from rlinf.envs.maniskill.env import ManiSkillCpu
from rlinf.envs.maniskill.experts import PushExpert, PushFlaw
from rlinf.errors import UserError


class PushDemonstrator:
    """`PushExpert` in env 0 of a `PushCube` simulator, for one episode."""

    def __init__(self, simulator: ManiSkillCpu, flaw: PushFlaw, rng: np.random.Generator) -> None:
        self._simulator = simulator
        _, cube = simulator.tool_and_object(0)
        self._expert = PushExpert(cube_start_x=float(cube[0]), reach=flaw.draw_reach(rng))

    def act(self) -> np.ndarray:
        """The next action: [7] float32."""
        return self._expert(*self._simulator.tool_and_object(0))

    def is_done(self) -> bool:
        """Whether the push has gone as far as it goes."""
        return not self.act()[:3].any()


def push_cube(
    simulator: Simulator, rules: Demonstrating, rng: np.random.Generator
) -> PushDemonstrator:
    """The expert of one episode.

    With the flaw of the configuration, a push stops when the cube has moved a random distance of
    that range, in metres.
    """
    if not isinstance(simulator, ManiSkillCpu):
        raise UserError(
            "imitation.expert = push_cube: it reads the state of a CPU simulation",
            "set env.train.init_params.sim_backend=cpu",
        )
    return PushDemonstrator(simulator, PushFlaw(rules.sound_share, *rules.flaw), rng)
