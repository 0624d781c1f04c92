"""Resets of some envs of a batch, with the library's controllers on a robot of tensors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlinf.data.types import Start

pytest.importorskip("mani_skill")

from mani_skill.agents.controllers import PDEEPoseController, PDJointPosController
from mani_skill.agents.controllers.base_controller import CombinedController
from mani_skill.utils.structs import Pose

from rlinf.envs.maniskill.gpu import ManiSkillGpu
from rlinf.envs.maniskill.partial_reset import GLOBAL_RANDOM, targets_kept

TARGET = torch.tensor([[0.5, 0.6], [0.7, 0.8], [0.9, 1.0]])  # of the arm's joints, in three envs
LAG = 0.1  # distance of the arm from its target
SCENE = SimpleNamespace(_reset_mask=torch.ones(3, dtype=torch.bool))  # as `BaseEnv.reset` leaves it


class Arm(PDJointPosController):
    """The library's controller of joints, without the set-up that needs a simulator."""

    def __init__(self) -> None:
        self.scene, self._start_qpos = SCENE, TARGET - LAG
        self._target_qpos = TARGET.clone()
        self.active_joint_indices = torch.arange(2)
        self.articulation = SimpleNamespace(get_qpos=lambda: TARGET - LAG)


class Hand(PDEEPoseController):
    """The library's controller of the tool's pose, likewise."""

    ee_pose_at_base = Pose.create(torch.arange(21.0).view(3, 7))

    def __init__(self) -> None:
        Arm.__init__(self)
        self.config = SimpleNamespace(use_target=True)
        self._target_pose = Pose.create(torch.arange(21.0).view(3, 7) + LAG)


def together(**controllers: Any) -> CombinedController:
    found = CombinedController.__new__(CombinedController)
    found.controllers = controllers
    return found


def test_targets_of_the_other_envs_stay_where_they_were() -> None:
    arm, hand = Arm(), Hand()
    controller = together(arm=arm, hand=hand)
    with targets_kept(controller, torch.tensor([1]), 3):
        controller.reset()
        assert not torch.equal(arm._target_qpos, TARGET)  # the library resets all of them
    expected = TARGET.clone()
    expected[1] -= LAG
    torch.testing.assert_close(arm._target_qpos, expected)
    pose = torch.arange(21.0).view(3, 7) + LAG
    pose[1] -= LAG
    torch.testing.assert_close(hand._target_pose.raw_pose, pose)


def test_controllers_by_name_and_a_reset_of_all_are_the_librarys() -> None:
    arm = Arm()
    with targets_kept({"one": arm}, torch.arange(3), 3):
        arm.reset()
    torch.testing.assert_close(arm._target_qpos, TARGET - LAG)


def simulator(calls: list[tuple[list[int], list[int], list[int] | None]]) -> ManiSkillGpu:
    """Four envs; the list fills with rows, their seeds and their trials of each reset."""

    def reset(seed: list[int], options: dict[str, Any]) -> tuple[None, dict[str, Any]]:
        assert GLOBAL_RANDOM._is_owned()  # no other stage draws meanwhile
        rows, trials = options["env_idx"].tolist(), options.get("episode_id")
        own = [seed[row] for row in rows]
        calls.append((rows, own, None if trials is None else trials.tolist()))
        return None, {}

    found = ManiSkillGpu.__new__(ManiSkillGpu)
    agent = SimpleNamespace(controller=together())
    found._env = SimpleNamespace(reset=reset, agent=agent, num_envs=4, device="cpu")
    found.num_envs, found._last = 4, np.ones((4, 7), np.float32)
    return found


def test_numbered_starts_are_reset_together_and_others_one_by_one() -> None:
    calls: list[tuple[list[int], list[int], list[int] | None]] = []
    found = simulator(calls)
    found.reset(np.array([1, 3]), [Start(0, 20, 5), Start(0, 10, 6)])
    found.reset(np.array([0, 2]), [Start(0, -1, 7), Start(0, -1, 8)])
    found.reset(np.array([], np.int64), [])
    assert calls == [([1, 3], [5, 6], [20, 10]), ([0], [7], None), ([2], [8], None)]
    assert not found._last.any()
