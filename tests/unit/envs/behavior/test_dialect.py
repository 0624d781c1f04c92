"""What is made of a step and of an observation, in all the forms they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlinf.envs.behavior.dialect import StepVerdict, part, plain, verdict
from rlinf.errors import EnvironmentFailure

CAMERA = "robot_r1:zed_link:Camera:0"
PATH = ("robot_r1", CAMERA, "rgb")


def info(success: bool, **conditions: bool) -> dict[str, Any]:
    ended = {name: {"done": done, "success": False} for name, done in conditions.items()}
    return {"done": {"success": success, "termination_conditions": ended}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (info(False, timeout=False, predicate=False), (False, False)),
        (info(False, timeout=True, predicate=False), (False, False)),  # the clock is ours
        (info(True, timeout=True, predicate=True), (True, True)),
        (info(False, timeout=False, falling=True), (True, False)),
    ],
)
def test_only_the_task_itself_ends_an_episode_and_success_is_its_own_word(given, expected):
    assert verdict(-0.5, given) == StepVerdict(-0.5, *expected)


@pytest.mark.parametrize(
    "shown",
    [
        {"robot_r1": {CAMERA: {"rgb": 7}}},
        {f"robot_r1::{CAMERA}::rgb": 7},
        {f"{CAMERA}::rgb": 7, "robot_r1": {"proprio": 1}},
    ],
)
def test_a_picture_is_found_under_nested_and_under_joined_keys(shown):
    assert part(shown, *PATH) == 7


def test_a_picture_that_is_not_there_is_told_with_what_there_is():
    with pytest.raises(EnvironmentFailure, match="beside rgb there is depth, seg"):
        part({"robot_r1": {CAMERA: {"seg": 1, "depth": 2}}}, *PATH)
    with pytest.raises(EnvironmentFailure, match="beside robot_r1 there is external"):
        part({"external": {}}, *PATH)


def test_a_tensor_is_copied():
    memory = np.zeros(3)

    class Tensor:
        def detach(self):
            return self

        cpu = detach

        def numpy(self):
            return memory

    copied = plain(Tensor())
    memory += 1
    assert copied.tolist() == [0, 0, 0]
