"""Conventions of policies on LIBERO: how to stand still, and the 8 numbers of proprioception."""

from __future__ import annotations

import numpy as np

from rlinf.envs.libero.config import SettleGripper

HOLD: dict[SettleGripper, np.ndarray] = {
    "open": np.array([0, 0, 0, 0, 0, 0, -1], np.float64),
    "half_open": np.zeros(7),  # where a reset leaves the fingers' controller
}
"""Actions of settling: no motion of the arm."""


def proprioception(position: np.ndarray, quaternion: np.ndarray, fingers: np.ndarray) -> np.ndarray:
    """What policies on LIBERO get as the robot's state: [8] float32.

    Args:
        position: [3] of the gripper, metres, world frame.
        quaternion: [4] of the gripper, in the order x, y, z, w.
        fingers: [2] joint positions of the fingers, metres.

    Returns:
        Position, orientation as axis times angle in radians, fingers.
    """
    return np.concatenate([position, axis_angle(quaternion), fingers]).astype(np.float32)


def axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """Axis times angle ([3], radians) of a unit quaternion [4] in the order x, y, z, w."""
    w = float(np.clip(quaternion[3], -1.0, 1.0))
    length = np.sqrt(1.0 - w * w)
    if np.isclose(length, 0.0):
        return np.zeros(3)
    axis: np.ndarray = quaternion[:3] / length
    return axis * 2.0 * np.arccos(w)
