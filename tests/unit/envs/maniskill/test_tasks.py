"""ManiSkill's own tasks: what can be learned is played, the rest is refused with the reason."""

from __future__ import annotations

import inspect
from importlib.util import find_spec

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.maniskill.config import Camera, ManiskillParams
from rlinf.envs.maniskill.tasks import CONTROLLERS, OTHER_TASKS, TASKS
from rlinf.errors import UserError

pytest.importorskip("mani_skill")

from mani_skill.utils.registration import REGISTERED_ENVS

from rlinf.envs.maniskill.env import ManiSkillCpu
from rlinf.envs.maniskill.instructions import INSTRUCTIONS, instruction_of
from rlinf.envs.maniskill.put_on_plate import task as put_on_plate
from rlinf.envs.maniskill.put_on_plate.cases import PREFIX, VARIANTS

ONLY, ON = np.zeros(1, np.int64), np.ones(1, bool)


def test_every_task_on_a_table_has_a_text() -> None:
    on_table = {
        name
        for name, spec in REGISTERED_ENVS.items()
        if ".tabletop." in spec.cls.__module__ and not name.startswith("TwoRobot")
    }
    assert on_table and on_table <= INSTRUCTIONS.keys()


def test_the_configuration_knows_the_names_of_all_tasks() -> None:
    put_on_plate.register()
    assert {*TASKS, *OTHER_TASKS} == REGISTERED_ENVS.keys()
    assert not OTHER_TASKS & TASKS.keys()


@pytest.mark.parametrize("name", TASKS)
def test_what_the_configuration_knows_of_a_task_is_what_the_package_says(name: str) -> None:
    put_on_plate.register()
    known, task = TASKS[name], REGISTERED_ENVS[name].cls
    assert set(known.rewards) - {"staged"} == set(task.SUPPORTED_REWARD_MODES) - {"none"} or (
        list(task.SUPPORTED_REWARD_MODES) == ["none"] and "sparse" in known.rewards
    )
    assert known.has_state == ("state" in task.SUPPORTED_OBS_MODES)
    default = inspect.signature(task.__init__).parameters.get("robot_uids")
    if default is not None:  # the others build their robot themselves
        assert default.default == known.robot
    assert known.robot in CONTROLLERS


def test_every_plate_task_has_its_object_sets() -> None:
    sets = {PREFIX + name: set(variant.sets) for name, variant in VARIANTS.items()}
    assert sets == {name: set(task.object_sets) for name, task in TASKS.items() if task.object_sets}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PickCube-v1", "StackCube-v1", "PushT-v1", "PickCubeSO100-v1"])
def test_controllers_and_sizes_of_a_robot_are_those_of_its_simulator(name: str) -> None:
    params = ManiskillParams(id=name, obs_mode="state", control_mode=None)
    simulator = ManiSkillCpu(1, params)
    simulator.reset(ONLY, [Start(0, -1, 5)])
    assert params.spaces().action_dim == simulator.action_dim
    assert params.spaces().obs_dim == simulator.observe(ONLY).state.shape[1]
    env = simulator._envs[0]
    assert env.control_mode == next(iter(CONTROLLERS[TASKS[name].robot]))
    assert len(env.scene.sensors) == TASKS[name].cameras
    for sensor in env.scene.sensors.values():
        assert (sensor.config.height, sensor.config.width) == TASKS[name].picture_size
    sizes = {}
    for mode in env.agent.supported_control_modes:
        env.agent.set_control_mode(mode)
        sizes[mode] = env.agent.single_action_space.shape[0]
    assert sizes == CONTROLLERS[TASKS[name].robot]
    simulator.close()


def test_a_missing_task_text_is_an_error() -> None:
    with pytest.raises(UserError, match=r"init_params\.instruction='open the drawer'"):
        instruction_of("MyTask-v1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "control_mode", "reward_mode"),
    [
        ("StackPyramid-v1", "pd_ee_delta_pose", "sparse"),
        ("MS-CartpoleBalance-v1", "pd_joint_delta_pos", "normalized_dense"),
    ],
)
def test_a_task_of_any_kind_is_played_from_its_state(
    name: str, control_mode: str, reward_mode: str
) -> None:
    params = ManiskillParams(
        id=name, obs_mode="state", control_mode=control_mode, reward_mode=reward_mode
    )
    simulator = ManiSkillCpu(1, params)
    simulator.reset(ONLY, [Start(0, -1, 5)])
    before = simulator.observe(ONLY)
    result = simulator.step(np.full((1, simulator.action_dim), 0.5, np.float32), ON)
    after = simulator.observe(ONLY)
    assert np.isfinite(after.state).all() and not np.array_equal(after.state, before.state)
    assert np.isfinite(result.rewards).all()
    assert before.instructions == (INSTRUCTIONS.get(name, name),)
    simulator.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("TwoRobotPickCube-v1", r"several parts \(panda_wristcam-0, panda_wristcam-1\)"),
        ("TableTopFreeDraw-v1", "neither a reward nor a success"),
        pytest.param(
            "DrawSVG-v1",
            "cannot build it .*svgpathtools",
            marks=pytest.mark.skipif(find_spec("svgpathtools") is not None, reason="it is there"),
        ),
    ],
)
def test_a_task_that_cannot_be_used_is_refused_with_the_reason(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        simulator = ManiSkillCpu(1, ManiskillParams(id=name, obs_mode="state"))
        simulator.reset(ONLY, [Start(0, -1, 5)])
        simulator.step(np.zeros((1, simulator.action_dim), np.float32), ON)


@pytest.mark.slow
def test_cameras_of_different_sizes_give_pictures_of_one() -> None:
    camera = Camera(eye=(0.3, 0.0, 0.6), target=(-0.1, 0.0, 0.1), width=32, height=32)
    params = ManiskillParams(id="StackCube-v1", camera=camera)
    with pytest.raises(
        UserError, match=r"base_camera 32 x 32, hand_camera 128 x 128(.|\n)*\[32,32\]"
    ):
        ManiSkillCpu(1, params)
    simulator = ManiSkillCpu(1, params.model_copy(update={"image_size": (32, 32)}))
    simulator.reset(ONLY, [Start(0, -1, 5)])
    assert simulator.observe(ONLY).images.shape == (1, 2, 32, 32, 3)
    simulator.close()
