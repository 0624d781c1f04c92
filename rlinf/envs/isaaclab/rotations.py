"""Quaternions in the order that a simulator has, as axis-angle."""

from __future__ import annotations

from typing import Literal

import numpy as np

Order = Literal["wxyz", "xyzw"]


def axis_angle(quaternions: np.ndarray, order: Order) -> np.ndarray:
    """[N, 3] axis times angle in radians, 0 to pi, of unit quaternions [N, 4]."""
    values = _wxyz(quaternions, order)
    values = np.where(values[:, :1] < 0, -values, values)  # q and -q are one rotation
    real, imaginary = values[:, :1], values[:, 1:]
    length = np.linalg.norm(imaginary, axis=1, keepdims=True)
    angle = 2 * np.arctan2(length, real)
    # Near zero the factor goes to 2: sin(angle / 2) = length.
    factor = np.where(length > 1e-8, angle / np.maximum(length, 1e-8), 2.0)
    return np.asarray(imaginary * factor, np.float32)


def matrices(quaternions: np.ndarray, order: Order) -> np.ndarray:
    """[N, 3, 3] float64 rotation matrices of unit quaternions [N, 4]; columns are turned axes."""
    w, x, y, z = _wxyz(quaternions, order).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _wxyz(quaternions: np.ndarray, order: Order) -> np.ndarray:
    values = np.asarray(quaternions, np.float64)
    return np.roll(values, 1, axis=-1) if order == "xyzw" else values
