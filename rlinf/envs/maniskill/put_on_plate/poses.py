"""Where things stand at the start of an episode: tables that an episode's digits index.

The order of the rows is part of the task: row 288 is row 288 in every published evaluation. Many
pairs of points lie exactly 0.15 m apart, and only the rounding of float64 decides which of them
count as further. So the coordinates are computed as below and in no other way, and the number of
rows is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

CENTRE = np.array([-0.16, 0.00])
HALF_EDGE = 0.075
APART = 0.070  # object and plate, metres
FAR_APART = 0.15  # two things of one kind, metres

INNER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # fractions of the square's edge
OUTER = (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)

START_JOINTS = np.array(
    [-0.01840777, 0.0398835, 0.22242722, -0.00460194, 1.36524296, 0.00153398, 0.037, 0.037]
)
"""[8] six arm joints (radians) and two fingers (metres) at the start of an episode."""


class Heights(NamedTuple):
    """Height of the origins when an episode begins, metres; things then fall onto the table."""

    object: float
    plate: float
    third: float


def _grid(fractions: tuple[float, ...]) -> list[np.ndarray]:
    """Points [2] of a square grid, x outermost."""
    pairs = [np.array([x, y]) for x in fractions for y in fractions]
    return [(pair * 2 - 1) * HALF_EDGE + CENTRE for pair in pairs]


def _ring() -> list[np.ndarray]:
    """The border of the outer grid, [28] points."""
    edge = (OUTER[0], OUTER[-1])
    names = [(x, y) for x in OUTER for y in OUTER]
    return [
        point for (x, y), point in zip(names, _grid(OUTER), strict=True) if x in edge or y in edge
    ]


def _apart(a: np.ndarray, b: np.ndarray, distance: float) -> bool:
    return bool(np.linalg.norm(a - b) > distance)


def _rows(points: Sequence[tuple[np.ndarray, ...]], heights: Heights, count: int) -> np.ndarray:
    """[count, things, 3] with the height of each thing."""
    assert len(points) == count, f"{len(points)} rows, {count} in the published task"
    return np.array(
        [[[*xy, z] for xy, z in zip(row, heights, strict=False)] for row in points], np.float64
    )


def pairs(heights: Heights) -> np.ndarray:
    """Object and plate on the inner grid: [784, 2, 3]."""
    return _rows(_pairs(_grid(INNER)), heights, 784)


def pairs_and_ring(heights: Heights) -> np.ndarray:
    """The rows of `pairs`, and then those with both on the ring around: [784 + 628, 2, 3]."""
    return _rows(_pairs(_grid(INNER)) + _pairs(_ring()), heights, 784 + 628)


def _pairs(points: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
    return [(a, b) for a, b in product(points, points) if _apart(a, b, APART)]


def two_objects(heights: Heights) -> np.ndarray:
    """Object, plate and a third place that is far from the object: [2104, 3, 3]."""
    grid = _grid(INNER)
    rows = [
        (a, b, c)
        for a, b, c in product(grid, grid, grid)
        if _apart(a, b, APART) and _apart(c, b, APART) and _apart(a, c, FAR_APART)
    ]
    return _rows(rows, heights, 2104)


def two_plates(heights: Heights) -> np.ndarray:
    """Object, plate and a third place that is far from the plate: [2104, 3, 3]."""
    grid = _grid(INNER)
    rows = [
        (a, b, c)
        for a, b, c in product(grid, grid, grid)
        if _apart(a, b, APART) and _apart(c, b, FAR_APART) and _apart(a, c, APART)
    ]
    return _rows(rows, heights, 2104)


def yaws() -> np.ndarray:
    """[8, 4] orientations of the object: multiples of 45 degrees, then those of unseen episodes."""
    degrees = [0.0, 45.0, 90.0, 135.0, -22.5, -67.5, -112.5, -157.5]
    half = np.deg2rad(degrees) / 2
    nothing = np.zeros_like(half)
    return np.stack([np.cos(half), nothing, nothing, np.sin(half)], axis=1)


def joint_offsets() -> np.ndarray:
    """[14376, 8] added to `START_JOINTS`: none, then combinations that keep the hand up."""
    arm = (-0.15, -0.08, 0.0, 0.08, 0.15)
    wrist = (-0.6, -0.3, 0.0, 0.3, 0.6)
    rows = [(0.0,) * 6] + [
        row for row in product(arm, arm, arm, arm, arm, wrist) if abs(row[1] + row[2]) <= 0.25
    ]
    assert len(rows) == 14_376
    return np.pad(np.array(rows), ((0, 0), (0, 2)))
