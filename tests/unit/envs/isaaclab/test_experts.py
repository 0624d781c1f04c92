"""The expert on a table where things follow their commands exactly."""

from __future__ import annotations

import numpy as np

from rlinf.envs.isaaclab.experts import BLUE, GREEN, RED, SIDE, UNIT, StackExpert

FOLLOWS = 0.65  # share of a command that the arm does in its step, as measured
DOWN = np.array([1.0, 0.0, 0.0, 0.0])  # xyzw: half a turn about x, so the hand's axis points down


class Table:
    """A hand and three cubes, one turned; what is held moves along, what is let go falls."""

    quaternion = "xyzw"

    def __init__(self, slips_at: int = -1) -> None:
        self.hand, self.yaw = np.array([0.45, 0.0, 0.35]), 0.3
        self.cubes = np.array([[0.4, 0.1, 0.0], [0.5, -0.1, 0.0], [0.55, 0.08, 0.0]])
        self.cubes[:, 2] = SIDE / 2
        self.turned = np.array([0.0, 0.9, -0.5])  # of the cubes about z
        self.held: int | None = None
        self.carried, self.slips_at, self.grasps = 0, slips_at, 0

    def term(self, name: str) -> np.ndarray:
        shown = {
            "policy/eef_pos": self.hand,
            "policy/eef_quat": about_z(self.yaw, DOWN),
            "policy/cube_positions": self.cubes.reshape(-1),
            "policy/cube_orientations": np.concatenate([about_z(a) for a in self.turned]),
        }
        return shown[name][None].copy()

    def step(self, action: np.ndarray) -> None:
        moved = action[:3] * UNIT * FOLLOWS
        self.hand, self.yaw = self.hand + moved, self.yaw + action[5] * UNIT * FOLLOWS
        away = np.linalg.norm(self.cubes - self.hand, axis=1)
        if action[6] >= 0:
            self.held = None
        elif self.held is None and away.min() < 0.015:
            self.held, self.grasps = int(away.argmin()), self.grasps + 1
        if self.held is not None:
            self.carried += 1
            self.cubes[self.held] += moved
            if self.carried == self.slips_at:
                self.held = None
        for cube in range(3):
            if cube != self.held:
                self.cubes[cube, 2] = self.rests_at(cube)

    def rests_at(self, cube: int) -> float:
        aside = np.linalg.norm((self.cubes - self.cubes[cube])[:, :2], axis=1)
        below = (aside < SIDE) & (self.cubes[:, 2] < self.cubes[cube, 2] - SIDE / 2)
        return float(self.cubes[below, 2].max(initial=-SIDE / 2)) + SIDE


def about_z(angle: float, first: np.ndarray | None = None) -> np.ndarray:
    """xyzw quaternion of a turn about z, after another turn."""
    x, y, z, w = np.array([0.0, 0.0, 0.0, 1.0]) if first is None else first
    sine, cosine = np.sin(angle / 2), np.cos(angle / 2)
    return np.array(
        [cosine * x - sine * y, cosine * y + sine * x, cosine * z + sine * w, cosine * w - sine * z]
    )


def play(table: Table) -> int:
    """Steps until the expert is done."""
    expert = StackExpert(table, ((RED, BLUE), (GREEN, RED)))
    for step in range(400):
        action = expert.act()
        assert action.shape == (7,) and np.abs(action[:6]).max() <= 1
        if expert.is_done():
            return step
        table.step(action)
    raise AssertionError("it does not come to an end")


def assert_stacked(table: Table) -> None:
    heights = table.cubes[[BLUE, RED, GREEN], 2]
    np.testing.assert_allclose(heights, SIDE * np.array([0.5, 1.5, 2.5]), atol=1e-6)
    aside = np.linalg.norm((table.cubes - table.cubes[BLUE])[:, :2], axis=1)
    assert aside.max() < 0.04  # as the task asks


def test_it_stacks_red_on_blue_and_green_on_red():
    table = Table()
    assert 60 < play(table) < 300
    assert_stacked(table)
    assert table.grasps == 2


def test_a_cube_that_slips_is_grasped_again():
    table = Table(slips_at=12)
    play(table)
    assert_stacked(table)
    assert table.grasps == 3
