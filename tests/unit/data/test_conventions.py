"""Conversions between action conventions, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.data.conventions import (
    ActionConvention,
    Dimension,
    Gripper,
    conversion,
    differences,
    end_effector,
    explain,
)

ZERO_TO_ONE, BOTH_WAYS = Gripper(open=1, closed=0), Gripper(open=1, closed=-1)
DIRECTION = Gripper(open=-1, closed=1, hold=0)
MODEL = end_effector("model", 1, 1, ZERO_TO_ONE, "Euler xyz")


def fingers(given: Gripper, taken: Gripper, value: float) -> float:
    between = conversion(
        *(end_effector(name, 1, 1, gripper) for name, gripper in (("a", given), ("b", taken)))
    )
    actions = np.array([0.1, -0.2, 0.3, 0.4, 0.5, 0.6, value], np.float32)
    converted = between(actions)
    np.testing.assert_array_equal(converted[:6], actions[:6])
    assert actions[6] == np.float32(value)  # the policy's own array is not touched
    return float(converted[6])


@pytest.mark.parametrize(
    ("value", "direction"),
    # 1 is open, which robosuite calls -1; between, the sign of 2g - 1 decides; 0.5 holds.
    [(1.0, -1), (0.996, -1), (0.51, -1), (0.5, 0), (0.49, 1), (0.0, 1), (1.3, -1), (-0.2, 1)],
)
def test_openvlas_gripper_is_turned_around_for_robosuite(value: float, direction: float) -> None:
    assert fingers(ZERO_TO_ONE, DIRECTION, value) == direction


@pytest.mark.parametrize(
    ("value", "width"),  # 2 * (g > 0.5) - 1
    [(1.0, 1), (0.996, 1), (0.51, 1), (0.5, -1), (0.49, -1), (0.0, -1)],
)
def test_openvlas_gripper_is_stretched_for_a_width_from_minus_one_to_one(
    value: float, width: float
) -> None:
    assert fingers(ZERO_TO_ONE, BOTH_WAYS, value) == width


def test_demonstrations_go_the_other_way() -> None:
    assert [fingers(DIRECTION, ZERO_TO_ONE, v) for v in (-1.0, 1.0)] == [1, 0]
    assert [fingers(BOTH_WAYS, ZERO_TO_ONE, v) for v in (-1.0, 0.5, 1.0)] == [0, 1, 1]


def test_a_gripper_of_the_same_convention_is_not_cut() -> None:
    assert fingers(BOTH_WAYS, BOTH_WAYS, 0.25) == 0.25


def test_units_are_scaled_with_their_sign_where_both_are_known() -> None:
    """0.02 m at 0.1 m per 1 is 0.2; 0.05 rad at -0.1 rad per 1 is -0.5."""
    actions = np.array([[[0.02, 0, 0, 0.05, 0, 0, 1]]], np.float32)
    panda = end_effector("panda", 0.1, -0.1, BOTH_WAYS, "Euler xyz")
    np.testing.assert_allclose(
        conversion(MODEL, panda)(actions), [[[0.2, 0, 0, -0.5, 0, 0, 1]]], atol=1e-7
    )
    unknown = end_effector("unknown", None, None, ZERO_TO_ONE)
    np.testing.assert_array_equal(conversion(unknown, panda)(actions)[..., :6], actions[..., :6])


def test_numbers_are_put_in_the_simulators_order() -> None:
    x, y = Dimension("x", "m", 1.0), Dimension("y", "m", 1.0)
    fingers = Dimension("gripper", gripper=ZERO_TO_ONE)
    taken = Dimension("gripper", gripper=BOTH_WAYS)
    between = conversion(
        ActionConvention("a", (x, y, fingers)), ActionConvention("b", (taken, y, x))
    )
    np.testing.assert_array_equal(between(np.array([1, 2, 0], np.float32)), [-1, 2, 1])


@pytest.mark.parametrize("sides", [(None, MODEL), (MODEL, None), (None, None), (MODEL, MODEL)])
def test_where_nothing_is_known_or_differs_the_very_array_comes_back(sides: tuple) -> None:
    actions = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], np.float32)
    assert conversion(*sides)(actions) is actions


def test_what_cannot_be_converted_is_named() -> None:
    joints = ActionConvention("joints", (Dimension("joint 1", "rad", 1.0),))
    assert differences(MODEL, joints) == [
        "it gives x, y, z, roll, pitch, yaw, gripper, the simulator takes joint 1"
    ]
    absolute = end_effector("pose", 1, 1, BOTH_WAYS, "axis-angle", relative=False)
    found = differences(MODEL, absolute)
    assert found[0] == "it gives x relative, the simulator takes it absolute"
    assert found[-1] == "it gives rotations as Euler xyz, the simulator takes axis-angle"
    assert differences(MODEL, end_effector("other", 0.1, 0.1, DIRECTION)) == []


def test_a_plan_names_both_sides_and_what_lies_between() -> None:
    panda = end_effector("panda", 0.1, -0.1, BOTH_WAYS, "Euler xyz", limit=1)
    assert explain(MODEL, panda) == [
        ["x, y, z", "m, relative", "0.1 m, relative, within +-1", "times 10"],
        [
            "roll, pitch, yaw",
            "rad, relative, Euler xyz",
            "-0.1 rad, relative, within +-1, Euler xyz",
            "times -10",
        ],
        ["gripper", "1 open, 0 closed", "1 open, -1 closed", "above 0.5: 1, else -1"],
    ]
    assert explain(None, None) == [
        ["all numbers", "the simulator's own", "not declared", "as it is"]
    ]
