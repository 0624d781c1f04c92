"""Scripted demonstrators for table tasks: from privileged simulator state to an action.

They steer the tool with a proportional controller in `pd_ee_delta_pose`, whose action is
(x, y, z, three rotations, gripper) in -1..1; +-1 is 0.1 m of tool displacement per step along the
world's axes. Rotations stay 0.

A demonstrator may be flawed on purpose: what imitation copies, reinforcement learning can repair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

METRES_PER_UNIT = 0.1  # tool displacement of a translation action of 1
HALF_OPEN = 0.0  # gripper command: the fingers form a pusher about 0.06 m wide
SOUND_REACH = 0.25  # metres the cube moves in a sound push: further than the task needs


@dataclass(frozen=True, slots=True)
class PushFlaw:
    """How far a demonstrated push goes: the share of sound pushes, and the reach of the others.

    PushCube counts a push as a success when the cube has moved 0.1 m along +x.
    """

    sound_share: float  # probability in 0..1 that a demonstration pushes all the way
    reach_low: float  # metres the cube has moved when a flawed push stops, drawn uniformly
    reach_high: float

    def draw_reach(self, rng: np.random.Generator) -> float:
        """Metres after which one demonstration stops; drawn once, at its start."""
        if rng.random() < self.sound_share:
            return SOUND_REACH
        return float(rng.uniform(self.reach_low, self.reach_high))


@dataclass(frozen=True, slots=True)
class PushExpert:
    """Goes behind the cube, comes down, and pushes it along +x.

    It has no memory but the cube's start, and its goal moves without jumps: what it does next can
    be read off one picture, which is what makes it easy to imitate.
    """

    cube_start_x: float  # metres, world frame
    reach: float  # metres the cube shall move; then the tool stands still
    gain: float = 1.2  # 1 would cover the whole distance to the goal in one step
    speed_limit: float = 0.6  # largest translation action, of 1
    standoff: float = 0.06  # metres between tool and cube centre before the push
    overshoot: float = 0.06  # metres in front of the cube's centre where a push aims
    push_height: float = 0.02  # metres above the table
    travel_height: float = 0.16

    def __call__(self, tool: np.ndarray, cube: np.ndarray) -> np.ndarray:
        """The next action [7] float32, from tool and cube positions [3] (metres, world frame)."""
        action = np.zeros(7, dtype=np.float32)
        action[6] = HALF_OPEN
        if cube[0] - self.cube_start_x < self.reach:
            error = (self._goal(tool, cube) - tool) * self.gain / METRES_PER_UNIT
            action[:3] = np.clip(error, -self.speed_limit, self.speed_limit)
        return action

    def _goal(self, tool: np.ndarray, cube: np.ndarray) -> np.ndarray:
        """Where the tool should go now, [3] metres.

        A funnel stands on the point behind the cube: the further the tool is from that point, the
        higher it flies. The lower and the better aligned it is, the more the goal moves forward.
        """
        behind = cube[0] - tool[0]  # metres the tool is behind the cube's centre
        aside = abs(cube[1] - tool[1])
        low = np.clip((0.07 - tool[2]) / 0.03, 0.0, 1.0)
        aligned = np.clip((0.045 - aside) / 0.02, 0.0, 1.0)
        ready = low * aligned if behind > 0.02 else 0.0
        if ready > 0.0 and behind < self.standoff + 0.02:
            height = self.push_height
        else:
            away = max(aside, behind - self.standoff)
            if behind < self.standoff:
                away = float(np.hypot(self.standoff - behind, aside))
            height = min(self.push_height + max(0.0, away - 0.015), self.travel_height)
        forward = ready * (self.standoff + self.overshoot) - self.standoff
        return np.array([cube[0] + forward, cube[1], height])
