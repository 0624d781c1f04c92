"""The numbers of the R1 Pro by the tables of its evaluation."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.data.types import Observation
from rlinf.envs.behavior import robot
from rlinf.envs.behavior.layout import channel_first

PROPRIO = np.arange(256, dtype=np.float32)


def test_the_slices_of_an_action_and_of_the_proprioception_follow_each_other_without_a_gap():
    ends = [part.stop for part in robot.ACTION.values()]
    assert [part.start for part in robot.ACTION.values()] == [0, *ends[:-1]]
    assert ends[-1] == robot.ACTION_DIM == 23
    pairs = list(robot.PROPRIO.values())
    assert [first for first, _ in pairs] == [0, *(end for _, end in pairs[:-1])]
    assert pairs[-1][1] == robot.PROPRIO_SIZE == 256


@pytest.mark.parametrize(
    ("place", "name", "unit", "size", "limit"),
    [
        (0, "base x", "m/s", 0.75, 1),
        (2, "base turn", "rad/s", 1.0, 1),
        (3, "torso 1", "rad", 1, None),
        (7, "left arm 1", "rad", 1, None),
        (14, "left gripper", "", None, None),
        (15, "right arm 1", "rad", 1, None),
        (22, "right gripper", "", None, None),
    ],
)
def test_each_number_of_an_action_has_a_name_a_unit_and_a_place(place, name, unit, size, limit):
    dimension = robot.CONVENTION.dimensions[place]
    assert (dimension.name, dimension.unit, dimension.size) == (name, unit, size)
    assert (dimension.limit, dimension.relative) == (limit, False)
    assert (dimension.gripper is not None) == name.endswith("gripper")


def test_each_part_has_limits_of_its_own():
    for name, part in robot.ACTION.items():
        low, high = (np.array(each) for each in robot.LIMITS[name])
        assert len(low) == len(high) == part.stop - part.start
        assert (low < high).all()
    assert robot.LIMITS["left arm"][1][1] == -robot.LIMITS["right arm"][0][1] == 3.1416


def test_the_usual_state_has_the_23_numbers_of_the_action_in_its_order():
    shown = robot.state(PROPRIO, robot.STATE)
    # gripper_left_qpos is at 193 and 194, gripper_right_qpos at 232 and 233
    expected = [
        *(253, 254, 255),
        *(236, 237, 238, 239),
        *range(158, 165),
        193 + 194,
        *range(197, 204),
        232 + 233,
    ]
    assert shown.tolist() == expected and shown.dtype == np.float32
    assert [robot.size_of(name) for name in robot.STATE] == [3, 4, 7, 1, 7, 1]


def test_holding_still_tells_each_joint_where_it_is_and_the_base_nothing():
    """A gripper whose fingers are 0.03 m and 0.02 m away from closed is half open: 0."""
    proprio = PROPRIO / 100
    proprio[193:195] = 0.03, 0.02
    proprio[232:234] = 0.05, 0.05
    held = robot.hold(proprio)
    assert held[:3].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(held[3:7], proprio[236:240])
    np.testing.assert_array_equal(held[7:14], proprio[158:165])
    np.testing.assert_array_equal(held[15:22], proprio[197:204])
    assert held[[14, 22]] == pytest.approx([0, 1], abs=1e-6)


def test_the_specifications_layout_has_channels_first_and_both_wrists_together():
    images = np.random.default_rng(0).integers(256, size=(2, 3, 5, 4, 3), dtype=np.uint8)
    head, wrists = channel_first(Observation(images, np.zeros((2, 0), np.float32), ("a", "b")))
    assert (head.shape, wrists.shape) == ((2, 3, 5, 4), (2, 2, 3, 5, 4))
    assert head[1, 2, 4, 3] == images[1, 0, 4, 3, 2]
    assert wrists[0, 1, 0, 2, 1] == images[0, 2, 2, 1, 0]
    assert np.shares_memory(head, images)
