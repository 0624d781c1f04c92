"""A scripted demonstrator for LIBERO-Spatial: takes the bowl by its rim and puts it on the plate.

It steers the gripper with a proportional controller in robosuite's `OSC_POSE`, whose action is
(x, y, z, three rotations, gripper) in -1..1; +-1 asks for 0.05 m per step. Rotations stay 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlinf.envs.base import Simulator
from rlinf.envs.experts import Demonstrating
from rlinf.envs.libero.env import LiberoEnv
from rlinf.errors import UserError

if TYPE_CHECKING:
    from rlinf.envs.libero.scene import LiberoScene

METRES_PER_UNIT = 0.05  # goal displacement of a translation action of 1
GAIN = 1.2
GRASP = np.array([0.0, -0.05, 0.02])  # metres from the bowl's origin to the grip on its rim
ABOVE = 0.10  # metres over the rim before going down
CARRY = 0.20  # metres over the plate on the way
RELEASE = 0.02  # metres over the plate's grip height where the gripper opens
CLOSING = 8  # steps until the fingers hold
OPEN, CLOSED = -1.0, 1.0


class PickPlaceExpert:
    """One episode of "pick up the black bowl ... and place it on the plate"."""

    def __init__(self, scene: LiberoScene) -> None:
        self._scene = scene
        self._bowl, self._plate = scene.objects_of_interest
        self._going_down = self._releasing = False
        self._closed = 0  # steps for which the gripper was commanded to close
        self._grip = GRASP  # from the bowl to the gripper while it is held

    def act(self) -> np.ndarray:
        """The next action: [7] float32, gripper -1 open and +1 closed."""
        tool = self._scene.state()[:3].astype(np.float64)
        goal, gripper = self._goal(tool)
        action = np.zeros(7, np.float32)
        action[:3] = np.clip((goal - tool) * GAIN / METRES_PER_UNIT, -1.0, 1.0)
        action[6] = gripper
        return action

    def is_done(self) -> bool:
        """Whether the bowl has been let go; it may still fall the last centimetre."""
        return self._releasing

    def _goal(self, tool: np.ndarray) -> tuple[np.ndarray, float]:
        """Where the gripper should go ([3] metres, world frame), and whether it is closed."""
        bowl, plate = (self._scene.position(name) for name in (self._bowl, self._plate))
        if self._closed == 0:
            return self._to_the_rim(tool, bowl)
        if self._closed < CLOSING:
            self._closed += 1
            self._grip = tool - bowl
            return tool, CLOSED
        return self._to_the_plate(tool, plate)

    def _to_the_rim(self, tool: np.ndarray, bowl: np.ndarray) -> tuple[np.ndarray, float]:
        rim = bowl + GRASP
        if np.linalg.norm((rim - tool)[:2]) < 0.012:
            self._going_down = True
        if not self._going_down:
            return rim + np.array([0.0, 0.0, ABOVE]), OPEN
        if tool[2] - rim[2] < 0.008:
            self._closed = 1
            return tool, CLOSED
        return rim, OPEN

    def _to_the_plate(self, tool: np.ndarray, plate: np.ndarray) -> tuple[np.ndarray, float]:
        over = plate + self._grip
        aside = np.linalg.norm((over - tool)[:2])
        if aside > 0.03 and tool[2] < plate[2] + CARRY - 0.02:
            return np.array([tool[0], tool[1], plate[2] + CARRY + 0.02]), CLOSED
        if aside > 0.012 and tool[2] > plate[2] + CARRY / 2:
            return np.array([over[0], over[1], plate[2] + CARRY]), CLOSED
        if self._releasing or tool[2] - over[2] < RELEASE + 0.01:
            self._releasing = True
            return tool, OPEN
        return over + np.array([0.0, 0.0, RELEASE]), CLOSED


def pick_place(
    simulator: Simulator, rules: Demonstrating, rng: np.random.Generator
) -> PickPlaceExpert:
    """The expert of one episode in env 0."""
    if not isinstance(simulator, LiberoEnv):
        raise UserError(
            "imitation.expert = libero_pick_place: it steers a robot of LIBERO",
            "set env.train.simulator_type=libero",
        )
    return PickPlaceExpert(simulator.scene(0))
