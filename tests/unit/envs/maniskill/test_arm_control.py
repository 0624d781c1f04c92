"""An arm moves as with ManiSkill's own controller, up to rounding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.maniskill.config import ManiskillParams

pytest.importorskip("mani_skill", reason="ManiSkill is not installed")

PLATE = {"id": "PutOnPlateInScene25Main-v3", "obj_set": "train"}
WIDOWX = "arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos"
FRAMES = [
    f"{translation}_translation:{rotation}_aligned_body_rotation"
    for translation in ("root", "body")
    for rotation in ("root", "body")
]


def build(params: ManiskillParams) -> Any:
    from rlinf.envs.maniskill.building import make_env

    return make_env(params, 1, "cpu")


def build_both(params: ManiskillParams) -> tuple[Any, Any]:
    """The stock env, and one with our control."""
    from rlinf.envs.maniskill.arm_control import use_arm_control

    stock, ours = build(params), build(params)
    assert use_arm_control(ours) == 1
    assert use_arm_control(ours) == 0  # it has it already
    return stock, ours


def states(env: Any) -> np.ndarray:
    """All states of two episodes of 15 steps; some actions are beyond the limits, one is zero."""
    from rlinf.envs.maniskill.fresh_physics import reset_exactly

    actions = np.random.default_rng(0).normal(0, 0.7, (2, 15, *env.action_space.shape))
    actions[:, 4] = 0
    actions[:, 7] *= 5
    found = []
    for episode, moves in enumerate(actions.astype(np.float32)):
        reset_exactly(env, Start(0, episode, episode))
        for move in moves:
            env.step(move)
            found.append(env.get_state()[0].numpy().copy())
    return np.stack(found)


def assert_equal(ours: np.ndarray, stock: np.ndarray) -> None:
    """To the last bit on Intel's processors; on AMD's at most 5e-4 apart, in joint velocities."""
    np.testing.assert_allclose(ours, stock, rtol=1e-3, atol=2e-3)


@pytest.fixture(scope="module")
def pandas() -> Iterator[tuple[Any, Any]]:
    both = build_both(ManiskillParams(id="PickCube-v1", control_mode="pd_ee_delta_pose"))
    yield both
    for env in both:
        env.close()


@pytest.mark.parametrize("frame", FRAMES)
def test_a_panda_gets_the_states_of_the_stock_controller(pandas: tuple[Any, Any], frame: str):
    for env in pandas:
        env.agent.controller.controllers["arm"].config.frame = frame
    stock, ours = map(states, pandas)
    assert_equal(ours, stock)


@pytest.mark.skipif("MS_ASSET_DIR" not in os.environ, reason="the Bridge assets are not there")
def test_a_widowx_gets_them_too_where_actions_add_up_to_a_target():
    params = ManiskillParams(**PLATE, control_mode=WIDOWX, obs_mode="rgb", reward_mode="staged")
    both = build_both(params)
    stock, ours = map(states, both)
    assert_equal(ours, stock)
    for env in both:
        env.close()


def test_joint_control_is_left_to_maniskill():
    from rlinf.envs.maniskill.arm_control import use_arm_control

    env = build(ManiskillParams(id="PushCube-v1", control_mode="pd_joint_delta_pos"))
    assert use_arm_control(env) == 0
    env.close()
