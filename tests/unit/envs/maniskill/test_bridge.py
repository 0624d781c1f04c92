"""ManiSkill's own carrot task through the same adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.errors import UserError
from tests.published import PublishedModel

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


@pytest.mark.slow
def test_the_carrot_is_put_on_the_plate_by_what_a_bridge_model_emits(tmp_path: Path) -> None:
    """Every token goes through `Policy.decode`; the gripper is 0.0 for closed, 0.996 for open."""
    if (missing := CARROT.missing_assets()) is not None:
        pytest.skip(missing[0])
    model = PublishedModel(tmp_path / "model", "bridge_orig")
    simulator = ManiSkillCpu(1, CARROT)
    simulator.reset(ONLY, [Start(0, 0, 3)])
    env = simulator._envs[0]
    carrot, plate = (env.objs[name].pose.p[0].numpy() for name in env.obj_names)
    target = env.agent.robot.links_map["ee_gripper_link"].pose.p[0].numpy().copy()
    over = plate - carrot
    solved = False
    for place, opened, wait in (  # metres from the carrot, and steps to stand still
        ((0, 0, 0.07), True, 3),
        ((0, 0, 0.0), True, 3),
        ((0, 0, 0.0), False, 4),
        ((0, 0, 0.09), False, 1),
        ((over[0], over[1], 0.09), False, 2),
        ((over[0], over[1], 0.02), False, 1),
        ((over[0], over[1], 0.02), True, 4),
    ):
        goal = carrot + place
        while wait > 0:
            move = np.clip(goal - target, -0.025, 0.025)
            wait -= bool(np.abs(goal - target).max() < 1e-3)
            # The robot's base looks along -x of the world.
            native = np.array([-move[0], -move[1], move[2], 0, 0, 0, 1 if opened else -1])
            taken = model.received(model.emit(native, CARROT.takes()), CARROT.takes())
            target += taken[:3] * [-1, -1, 1]
            result = simulator.step(taken[None], ON)
            solved |= bool(result.success[0])
    simulator.close()
    assert solved and result.rewards[0] == pytest.approx(1.2)  # held, held steadily, and on it
