"""Signs and angles, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.envs.libero.conventions import axis_angle, proprioception, to_native


@pytest.mark.parametrize(
    ("given", "taken"),
    # 1 is open, which robosuite calls -1; between, the sign of 2g - 1 decides; 0.5 is neither.
    [(1.0, -1.0), (0.51, -1.0), (0.5, 0.0), (0.49, 1.0), (0.0, 1.0), (1.3, -1.0), (-0.2, 1.0)],
)
def test_the_gripper_of_openvla_is_cut_at_one_half_and_turned_around(given, taken):
    action = np.array([0.1, -0.2, 0.3, 0.4, 0.5, 0.6, given], np.float32)
    native = to_native(action, "openvla")
    assert native[-1] == taken
    np.testing.assert_array_equal(native[:6], action[:6])
    assert action[-1] == np.float32(given)  # the policy's own array is not touched


def test_a_native_action_is_taken_as_it_is():
    action = np.array([[0.1, 0, 0, 0, 0, 0, -0.3]], np.float32)
    np.testing.assert_array_equal(to_native(action, "native"), action)


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
