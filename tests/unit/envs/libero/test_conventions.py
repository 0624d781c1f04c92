"""Angles, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.envs.libero.conventions import axis_angle, proprioception


@pytest.mark.parametrize(
    ("quaternion", "turn"),
    [
        ([0, 0, 0, 1], [0, 0, 0]),
        ([0, 0, np.sqrt(0.5), np.sqrt(0.5)], [0, 0, np.pi / 2]),  # cos 45 deg: a quarter turn
        ([1, 0, 0, 0], [np.pi, 0, 0]),
        ([0, 0.5, 0, -np.sqrt(0.75)], [0, 5 * np.pi / 3, 0]),  # w = cos 150 deg: 300 degrees
        ([0, 0, 0, 1.0000001], [0, 0, 0]),  # rounding beyond 1
    ],
)
def test_a_quaternion_becomes_axis_times_angle_and_is_not_written_to(quaternion, turn):
    given = np.array(quaternion, np.float64)
    np.testing.assert_allclose(axis_angle(given), turn, atol=1e-12)
    np.testing.assert_array_equal(given, quaternion)


def test_proprioception_is_position_turn_and_fingers():
    found = proprioception(np.array([1.0, 2, 3]), np.array([1.0, 0, 0, 0]), np.array([0.04, -0.04]))
    np.testing.assert_allclose(found, np.float32([1, 2, 3, np.pi, 0, 0, 0.04, -0.04]))
    assert found.dtype == np.float32
