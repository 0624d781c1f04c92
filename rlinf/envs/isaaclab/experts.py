"""A scripted expert for the stacking task, which puts the red cube on the blue one.

It leaves the green one where it is: with Newton's contacts the fingers lost it in most tries.

It steers the hand with a proportional controller in IsaacLab's relative inverse kinematics, whose
action is (x, y, z, three rotations, gripper): 1 asks for 0.5 m or 0.5 rad, in the frame of the
arm's base. It looks at positions and rotations of the cubes, which no policy is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rlinf.envs.base import Simulator
from rlinf.envs.experts import Demonstrating
from rlinf.envs.isaaclab.adapter import BatchedEnv
from rlinf.envs.isaaclab.rotations import matrices
from rlinf.errors import UserError

UNIT = 0.5  # metres, or radians, of an action of 1
SIDE = 0.0406  # metres, of a cube
FAST, SLOW = 0.04, 0.015  # metres of a step at most; a cube that is carried fast slips
TURN = 0.15  # radians of a step at most
NEAR = 0.008  # metres, and
ALIGNED = 0.03  # radians, at which a place is reached
ABOVE = 0.1  # metres over a cube, on the way to it
CARRY = 0.08  # metres over the place where a cube is put down, on the way there
DEEP = 0.004  # metres under a cube's middle, where the fingers hold best
CLOSING, OPENING = 10, 16  # steps that the fingers take; success wants them still
HELD = 0.03  # metres between hand and cube; more, and it has slipped
OPEN, CLOSED = 1.0, -1.0
BLUE, RED, GREEN = 0, 1, 2
FIRST = ((RED, BLUE),)  # a cube, and the one below

Place = Callable[[], np.ndarray]  # [3] metres, as of now


class StackExpert:
    """One episode in env 0: puts cubes on others; what slips is grasped again.

    Args:
        env: it acts in.
        pairs: of cubes, an upper and a lower one, in their order.
    """

    def __init__(self, env: BatchedEnv, pairs: Sequence[tuple[int, int]] = FIRST) -> None:
        self._env, self._pairs = env, pairs
        self._actions = self._stack()
        self._done = False

    def act(self) -> np.ndarray:
        """The next action: [7] float32."""
        action = next(self._actions, None)
        if action is None:
            self._done = True
            return self._move(np.zeros(3), np.zeros(3), OPEN)
        return action

    def is_done(self) -> bool:
        """Whether the cubes are stacked and let go."""
        return self._done

    def _stack(self) -> Iterator[np.ndarray]:
        for cube, below in self._pairs:
            while not self._lies_on(cube, below):
                yield from self._grasp(cube)
                yield from self._carry(cube, below)
                yield from self._wait(OPENING, OPEN)
                yield from self._go(self._over(self._tool(), ABOVE), OPEN, FAST, near=0.02)

    def _grasp(self, cube: int) -> Iterator[np.ndarray]:
        yield from self._go(lambda: self._cube(cube) + up(ABOVE), OPEN, FAST, cube)
        yield from self._go(lambda: self._cube(cube) - up(DEEP), OPEN, SLOW, cube, near=DEEP)
        yield from self._wait(CLOSING, CLOSED)

    def _carry(self, cube: int, below: int) -> Iterator[np.ndarray]:
        """Up, across and down, with the cube where it is in the hand; ends where it slips."""

        def over(height: float) -> np.ndarray:
            grip = self._tool() - self._cube(cube)
            return self._cube(below) + up(SIDE + height) + grip

        def rise() -> np.ndarray:
            return np.array([*self._tool()[:2], over(CARRY)[2]])

        for goal in (rise, lambda: over(CARRY), lambda: over(0.004)):
            for action in self._go(goal, CLOSED, SLOW):
                if np.linalg.norm(self._tool() - self._cube(cube)) > HELD:
                    return
                yield action

    def _wait(self, steps: int, gripper: float) -> Iterator[np.ndarray]:
        for _ in range(steps):
            yield self._move(np.zeros(3), np.zeros(3), gripper)

    def _go(
        self,
        goal: Place,
        gripper: float,
        speed: float,
        cube: int | None = None,
        near: float = NEAR,
    ) -> Iterator[np.ndarray]:
        """Moves the tool to a place, its fingers parallel to a cube's sides if there is one."""
        while True:
            away, turn = goal() - self._tool(), self._upright(cube)
            if np.abs(away).max() < near and abs(turn[2]) < ALIGNED:
                return
            yield self._move(np.clip(away, -speed, speed), turn, gripper)

    def _move(self, way: np.ndarray, turn: np.ndarray, gripper: float) -> np.ndarray:
        """An action of metres [3] and radians [3]."""
        steps = np.concatenate([way, np.clip(turn, -TURN, TURN)]) / UNIT
        return np.array([*steps, gripper], np.float32)

    def _upright(self, cube: int | None) -> np.ndarray:
        """[3] radians, axis times angle, that bring the hand's axis down and its fingers around."""
        hand = self._rotation("policy/eef_quat")
        tilt = np.cross(hand[:, 2], [0.0, 0.0, -1.0])
        if cube is None:
            return tilt
        side = self._rotation("policy/cube_orientations", cube)[:, 0]
        fingers = hand[:, 1]  # the way they open
        angle = np.arctan2(side[1], side[0]) - np.arctan2(fingers[1], fingers[0])
        quarter = np.pi / 2  # a cube looks the same after each
        return np.array([*tilt[:2], angle - quarter * np.round(angle / quarter)])

    def _lies_on(self, cube: int, below: int) -> bool:
        away = self._cube(cube) - self._cube(below)
        return bool(np.linalg.norm(away[:2]) < SIDE / 2 and abs(away[2] - SIDE) < SIDE / 4)

    def _over(self, place: np.ndarray, height: float) -> Place:
        return lambda: place + up(height)

    def _tool(self) -> np.ndarray:
        return self._env.term("policy/eef_pos")[0]

    def _cube(self, cube: int) -> np.ndarray:
        return self._env.term("policy/cube_positions")[0].reshape(3, 3)[cube]

    def _rotation(self, term: str, index: int = 0) -> np.ndarray:
        """[3, 3] rotation matrix of a quaternion of a term."""
        quaternions = self._env.term(term)[0].reshape(-1, 4)
        found: np.ndarray = matrices(quaternions[index : index + 1], self._env.quaternion)[0]
        return found


def up(height: float) -> np.ndarray:
    """[3] metres."""
    return np.array([0.0, 0.0, height])


def stack_cube(simulator: Simulator, rules: Demonstrating, rng: np.random.Generator) -> StackExpert:
    """The expert of one episode in env 0."""
    if not isinstance(simulator, BatchedEnv):
        raise UserError(
            "imitation.expert = isaaclab_stack_cube: it steers an arm of IsaacLab",
            "set env.train.simulator_type=isaaclab",
        )
    return StackExpert(simulator)
