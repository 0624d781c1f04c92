"""The R1 Pro: what the numbers of an action and of its proprioception are.

An action has 23 numbers. Joints are absolute targets in radians, the base a velocity, and each
gripper one number between closed and open. Source: the robot configuration and index tables of
OmniGibson's evaluation (`omnigibson/learning/utils/eval_utils.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlinf.data.conventions import ActionConvention, Dimension, Gripper

ACTION: dict[str, slice] = {
    "base": slice(0, 3),
    "torso": slice(3, 7),
    "left arm": slice(7, 14),
    "left gripper": slice(14, 15),
    "right arm": slice(15, 22),
    "right gripper": slice(22, 23),
}
"""Part of the robot -> its numbers of an action."""
ACTION_DIM = 23

BASE_SPEED = (0.75, 0.75, 1.0)
"""What 1 is for the base's x and y (m/s) and its turn (rad/s); the controller clips to -1..1."""
LIMITS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "base": ((-1.0,) * 3, (1.0,) * 3),
    "torso": ((-1.1345, -2.7925, -1.8326, -3.0543), (1.8326, 2.5307, 1.5708, 3.0543)),
    "left arm": (
        (-4.4506, -0.1745, -2.3562, -2.0944, -2.3562, -1.0472, -1.5708),
        (1.3090, 3.1416, 2.3562, 0.3491, 2.3562, 1.0472, 1.5708),
    ),
    "left gripper": ((-1.0,), (1.0,)),
    "right arm": (
        (-4.4506, -3.1416, -2.3562, -2.0944, -2.3562, -1.0472, -1.5708),
        (1.3090, 0.1745, 2.3562, 0.3491, 2.3562, 1.0472, 1.5708),
    ),
    "right gripper": ((-1.0,), (1.0,)),
}
"""Part -> smallest and largest value of each of its numbers: radians for joints."""
FINGER_TRAVEL = 0.05
"""Metres that each of the two fingers of a gripper moves from closed to open."""

PROPRIO: dict[str, tuple[int, int]] = {
    "joint_qpos": (0, 28),
    "joint_qpos_sin": (28, 56),
    "joint_qpos_cos": (56, 84),
    "joint_qvel": (84, 112),
    "joint_qeffort": (112, 140),
    "robot_pos": (140, 143),
    "robot_ori_cos": (143, 146),
    "robot_ori_sin": (146, 149),
    "robot_2d_ori": (149, 150),
    "robot_2d_ori_cos": (150, 151),
    "robot_2d_ori_sin": (151, 152),
    "robot_lin_vel": (152, 155),
    "robot_ang_vel": (155, 158),
    "arm_left_qpos": (158, 165),
    "arm_left_qpos_sin": (165, 172),
    "arm_left_qpos_cos": (172, 179),
    "arm_left_qvel": (179, 186),
    "eef_left_pos": (186, 189),
    "eef_left_quat": (189, 193),
    "gripper_left_qpos": (193, 195),
    "gripper_left_qvel": (195, 197),
    "arm_right_qpos": (197, 204),
    "arm_right_qpos_sin": (204, 211),
    "arm_right_qpos_cos": (211, 218),
    "arm_right_qvel": (218, 225),
    "eef_right_pos": (225, 228),
    "eef_right_quat": (228, 232),
    "gripper_right_qpos": (232, 234),
    "gripper_right_qvel": (234, 236),
    "trunk_qpos": (236, 240),
    "trunk_qvel": (240, 244),
    "base_qpos": (244, 247),
    "base_qpos_sin": (247, 250),
    "base_qpos_cos": (250, 253),
    "base_qvel": (253, 256),
}
"""Name of a slice of the proprioception -> where it begins and ends. Angles are radians, lengths
metres. The challenge's standard track forbids the poses in the world: `robot_pos`, `robot_ori_*`,
`robot_2d_ori*`, `base_qpos*`, and the first six of `joint_qpos*`."""
PROPRIO_SIZE = 256
WIDTHS = {"gripper_left_width": "gripper_left_qpos", "gripper_right_width": "gripper_right_qpos"}
"""Metres between the fingers of a gripper: the sum of the two."""
STATE = (
    "base_qvel",
    "trunk_qpos",
    "arm_left_qpos",
    "gripper_left_width",
    "arm_right_qpos",
    "gripper_right_width",
)
"""The usual state of a policy: 23 numbers, in the order of the action."""


def _joints(part: str) -> list[Dimension]:
    count = ACTION[part].stop - ACTION[part].start
    return [Dimension(f"{part} {n}", "rad", 1, relative=False) for n in range(1, count + 1)]


_BASE = (
    Dimension("base x", "m/s", BASE_SPEED[0], relative=False, limit=1),
    Dimension("base y", "m/s", BASE_SPEED[1], relative=False, limit=1),
    Dimension("base turn", "rad/s", BASE_SPEED[2], relative=False, limit=1),
)
_GRIPPER = Gripper(open=1, closed=-1)
CONVENTION = ActionConvention(
    "R1 Pro, absolute joints",
    (
        *_BASE,
        *_joints("torso"),
        *_joints("left arm"),
        Dimension("left gripper", relative=False, gripper=_GRIPPER),
        *_joints("right arm"),
        Dimension("right gripper", relative=False, gripper=_GRIPPER),
    ),
)
"""All 23 numbers, with names and units."""


def size_of(name: str) -> int:
    """Numbers of a slice of the state."""
    if name in WIDTHS:
        return 1
    first, end = PROPRIO[name]
    return end - first


def read(proprio: np.ndarray, name: str) -> np.ndarray:
    """A slice of the state, by name.

    Args:
        proprio: [256] float.
        name: of `PROPRIO` or `WIDTHS`.
    """
    first, end = PROPRIO[WIDTHS.get(name, name)]
    part: np.ndarray = proprio[first:end]
    return part.sum(keepdims=True) if name in WIDTHS else part


def state(proprio: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """[S] float32, the slices one after the other."""
    return np.concatenate([read(proprio, name) for name in names]).astype(np.float32)


def hold(proprio: np.ndarray) -> np.ndarray:
    """The action [23] float32 that leaves the robot as it is.

    Joints get their present positions, as their targets are absolute: zeros would move both arms.
    The base gets no velocity, a gripper its present opening.
    """
    action = np.zeros(ACTION_DIM, np.float32)
    action[ACTION["torso"]] = read(proprio, "trunk_qpos")
    for side in ("left", "right"):
        action[ACTION[f"{side} arm"]] = read(proprio, f"arm_{side}_qpos")
        open_by = read(proprio, f"gripper_{side}_width") / (2 * FINGER_TRAVEL)
        action[ACTION[f"{side} gripper"]] = np.clip(2 * open_by - 1, -1, 1)
    return action
