"""ManiSkill's own carrot task through the same adapter."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.config.simulators import ManiskillParams
from rlinf.data.types import Start
from rlinf.errors import UserError

pytest.importorskip("mani_skill")

from rlinf.envs.maniskill.building import make_env
from rlinf.envs.maniskill.env import ManiSkillCpu

ONLY, ON = np.zeros(1, np.int64), np.ones(1, bool)
CARROT = ManiskillParams(
    id="PutCarrotOnPlateInScene-v1",
    control_mode="arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos",
    reward_mode="staged",
    shader="default",
)


def test_a_staged_reward_of_a_task_that_does_not_know_what_is_held_is_refused() -> None:
    with pytest.raises(UserError, match="does not say whether the object is held"):
        make_env(ManiskillParams(id="PushCube-v1", reward_mode="staged"), 1, "cpu")


@pytest.mark.slow
def test_the_carrot_task_has_24_starts_and_draws_them_on_its_photo_again_and_again() -> None:
    if (missing := CARROT.missing_assets()) is not None:
        pytest.skip(missing[0])
    simulator = ManiSkillCpu(1, CARROT)
    assert (simulator.num_trials, simulator.action_dim) == (24, 7)
    assert simulator.tasks == ("put carrot on plate",)
    down = np.array([[0.02, 0.0, -0.02, 0.0, 0.0, 0.0, 1.0]], np.float32)

    def play(trial: int) -> tuple[list[float], np.ndarray, np.ndarray]:
        simulator.reset(ONLY, [Start(0, trial, 3)])
        first = simulator.observe(ONLY).images[0, 0]
        rewards = [float(simulator.step(down, ON).rewards[0]) for _ in range(4)]
        return rewards, first, simulator.observe(ONLY).images[0, 0]

    rewards, first, last = play(7)
    # An env with another shader in the same process does not change what this one draws.
    other = ManiSkillCpu(1, ManiskillParams(id="PushCube-v1", light_visuals=True))
    again = play(7)
    other.close()
    assert first.shape == (480, 640, 3) and (first != last).any()
    assert rewards == again[0] == [0.0] * 4
    np.testing.assert_array_equal(first, again[1])
    np.testing.assert_array_equal(last, again[2])
    assert (play(12)[1] != first).any()
    assert simulator.frames(ONLY).shape[3] == 3
    simulator.close()
