"""Quaternions by hand: a quarter turn about z is cos 45, sin 45; turned by pi/2."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rlinf.envs.isaaclab.rotations import axis_angle, matrices

HALF = math.sqrt(0.5)


@pytest.mark.parametrize(
    ("wxyz", "expected"),
    [
        ((1, 0, 0, 0), (0, 0, 0)),
        ((HALF, 0, 0, HALF), (0, 0, math.pi / 2)),
        ((-HALF, 0, 0, -HALF), (0, 0, math.pi / 2)),  # the same rotation
        ((HALF, 0, 0, -HALF), (0, 0, -math.pi / 2)),
        ((0, 1, 0, 0), (math.pi, 0, 0)),
        ((math.cos(1e-10), 0, math.sin(1e-10), 0), (0, 2e-10, 0)),
    ],
)
def test_both_orders_of_a_quaternion_give_its_axis_times_its_angle(wxyz, expected):
    w, x, y, z = wxyz
    np.testing.assert_allclose(axis_angle(np.array([wxyz]), "wxyz")[0], expected, atol=1e-6)
    xyzw = np.array([(x, y, z, w)])
    np.testing.assert_allclose(axis_angle(xyzw, "xyzw")[0], expected, atol=1e-6)


def test_the_wrong_order_is_another_rotation():
    given = np.array([(HALF, 0.0, 0.0, HALF)])
    assert np.abs(axis_angle(given, "xyzw") - axis_angle(given, "wxyz")).max() > 1


def test_a_matrix_turns_as_its_quaternion_in_either_order():
    quarters = {  # a quarter turn about each axis: y becomes z, z becomes x, x becomes y
        (HALF, HALF, 0, 0): [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
        (HALF, 0, HALF, 0): [[0, 0, 1], [0, 1, 0], [-1, 0, 0]],
        (HALF, 0, 0, HALF): [[0, -1, 0], [1, 0, 0], [0, 0, 1]],
    }
    wxyz = np.array(list(quarters))
    expected = np.array(list(quarters.values()))
    np.testing.assert_allclose(matrices(wxyz, "wxyz"), expected, atol=1e-12)
    np.testing.assert_allclose(matrices(np.roll(wxyz, -1, axis=1), "xyzw"), expected, atol=1e-12)
