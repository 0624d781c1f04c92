"""The GPU adapter, as far as it can be tested without one: on the CPU backend with one env."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.errors import UserError

pytest.importorskip("mani_skill")

from rlinf.envs.maniskill.env import ManiSkillCpu
from rlinf.envs.maniskill.gpu import ManiSkillGpu, holding

PICK = ManiskillParams(id="PickCube-v1", obs_mode="state", reward_mode="normalized_dense")
ONLY, ON = np.zeros(1, np.int64), np.ones(1, bool)


@pytest.fixture
def plate() -> ManiskillParams:
    found = ManiskillParams(
        id="PutOnPlateInScene25Single-v1",
        obj_set="train",
        control_mode="arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos",
        reward_mode="staged",
        image_size=(120, 160),
    )
    if (missing := found.missing_assets()) is not None:
        pytest.skip(missing[0])
    return found


def test_inactive_envs_stay_where_they_are() -> None:
    """Two relative dimensions and a gripper; env 0 moves, env 1 rests with its gripper closed."""
    actions = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    last = np.array([[0.7, 0.8, 0.9], [1.0, 1.0, -1.0]])
    held = holding(actions, np.array([True, False]), last, np.array([True, True, False]))
    np.testing.assert_allclose(held, [[0.1, 0.2, 0.3], [0.0, 0.0, -1.0]])


def test_light_visuals_are_refused() -> None:
    with pytest.raises(UserError, match="light_visuals"):
        ManiSkillGpu(1, PICK.model_copy(update={"light_visuals": True}))


@pytest.mark.slow
def test_it_gives_what_the_cpu_adapter_gives_and_holds_the_arm_still() -> None:
    gpu, cpu = ManiSkillGpu(1, PICK, backend="cpu"), ManiSkillCpu(1, PICK)
    for simulator in (gpu, cpu):
        simulator.reset(ONLY, [Start(0, -1, 5)])
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 1, 7)).astype(np.float32):
        a, b = gpu.step(action, ON), cpu.step(action, ON)
        np.testing.assert_allclose(a.rewards, b.rewards, atol=1e-4)  # see test_arm_control.py
        assert (a.terminated, a.success) == (b.terminated, b.success)
    shown, expected = gpu.observe(ONLY).state, cpu.observe(ONLY).state
    np.testing.assert_allclose(shown, expected, rtol=1e-3, atol=1e-4)
    assert gpu.action_dim == cpu.action_dim and gpu.tasks == cpu.tasks

    joints = [gpu.observe(ONLY).state[0, :7]]
    for _ in range(5):
        result = gpu.step(action, ~ON)
        assert not (result.rewards.any() or result.terminated.any() or result.success.any())
        joints.append(gpu.observe(ONLY).state[0, :7])
    assert np.abs(joints[-1] - joints[-2]).max() < 1e-3  # radians; it settles
    gpu.close()
    cpu.close()


@pytest.mark.slow
def test_an_episode_goes_on_after_the_simulator_has_left_its_device_and_come_back() -> None:
    actions = np.random.default_rng(1).uniform(-1, 1, (12, 1, 7)).astype(np.float32)

    def play(leave: bool) -> tuple[list[float], np.ndarray]:
        simulator = ManiSkillGpu(1, PICK, backend="cpu")
        simulator.reset(ONLY, [Start(0, -1, 5)])
        rewards = []
        for step, action in enumerate(actions):
            if leave and step == 6:
                simulator.offload()
                assert not hasattr(simulator, "_env")
                simulator.onload()
            rewards.append(float(simulator.step(action, ON).rewards[0]))
        state = simulator.observe(ONLY).state[0]
        if leave:
            simulator.offload()  # and it can be closed from there
        simulator.close()
        return rewards, state

    stayed, left = play(leave=False), play(leave=True)
    np.testing.assert_allclose(left[0], stayed[0], atol=1e-3)
    np.testing.assert_allclose(left[1], stayed[1], atol=2e-3)


@pytest.mark.slow
def test_a_plate_task_keeps_its_books_when_it_leaves_its_device(plate: ManiskillParams) -> None:
    """The texts, what was held, and the place of the things are those of before."""
    simulator = ManiSkillGpu(1, plate, backend="cpu")
    simulator.reset(ONLY, [Start(0, 1_000, 5)])
    for _ in range(3):
        simulator.step(np.array([[0, 0, 0, 0, 0, 0, 1]], np.float32), ON)
    before, text = simulator.observe(ONLY), simulator.instructions(ONLY)
    simulator.offload()
    simulator.onload()
    after = simulator.observe(ONLY)
    assert simulator.instructions(ONLY) == text == ("put carrot on plate",)
    np.testing.assert_allclose(after.state, before.state, atol=1e-5)
    assert np.abs(after.images.astype(int) - before.images).mean() < 0.5
    assert int(simulator._env._elapsed_steps[0]) == 3
    simulator.close()
