"""What is declared of data sets and controllers, against the controllers themselves."""

from __future__ import annotations

import json
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import numpy as np
import pytest

from rlinf.config.load import load
from rlinf.envs.libero.actions import ROBOSUITE_OSC_POSE
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.envs.maniskill.conventions import CONTROLLERS, PANDA_TASKS, WIDOWX, WIDOWX_MODE, taken
from rlinf.errors import UserError
from rlinf.models.prismatic.conventions import of_data_set
from tests.published import PublishedModel


@pytest.mark.parametrize(
    ("name", "lowest", "dimensions", "convention"),
    [
        ("bridge_orig", 0.0, 7, "bridge"),
        ("libero_spatial_no_noops", 0.0, 7, "libero"),
        ("fractal20220817_data", 0.0, 7, "openvla"),
        ("libero_spatial", -1.0, 7, "native"),  # recorded as robosuite takes it
        ("aloha_put_x_into_pot", 0.0, 14, "native"),
    ],
)
def test_a_data_set_has_a_convention(
    name: str, lowest: float, dimensions: int, convention: str
) -> None:
    assert of_data_set(name, lowest, dimensions) == convention


def test_the_statistics_of_the_gripper_count_more_than_the_name(tmp_path: Path) -> None:
    config = PublishedModel(tmp_path, "libero_spatial_no_noops").config
    assert config.resolved_convention() == "libero"
    file = tmp_path / "dataset_statistics.json"
    content = json.loads(file.read_text())
    content["libero_spatial_no_noops"]["action"]["q01"][6] = -1.0
    file.write_text(json.dumps(content))
    assert config.resolved_convention() == "native" and config.emits() is None
    forced = config.model_copy(update={"action_convention": "bridge"})
    assert forced.resolved_convention() == "bridge"


SHIPPED = {
    "maniskill_ppo_openvla": "above 0.5: 1, else -1",
    "maniskill_grpo_openvlaoft": "above 0.5: 1, else -1",
    "libero_10_grpo_openvlaoft": "above 0.5: -1, else 1",
}


@pytest.mark.parametrize(("name", "told"), SHIPPED.items())
def test_the_plan_of_a_shipped_configuration_says_how_the_gripper_is_converted(
    name: str, told: str, tmp_path: Path
) -> None:
    from rich.console import Console

    from rlinf.config.show import render

    loaded = load(name, [f"runner.logger.log_path={tmp_path}"])
    assert loaded.plan.train.conversion.grippers == loaded.plan.eval.conversion.grippers != ()
    console = Console(width=160, record=True, file=StringIO())
    console.print(render(loaded))
    assert told in console.export_text()


def test_a_policy_of_the_simulator_itself_is_not_converted(tmp_path: Path) -> None:
    for name in ("maniskill_grpo_tiny", "libero_spatial_ppo_tiny", "toy_ppo_mlp"):
        plan = load(name, [f"runner.logger.log_path={tmp_path}"]).plan
        actions = np.full((2, 7), 0.3, np.float32)
        assert plan.train.conversion(actions) is actions


def test_a_controller_that_the_model_was_not_trained_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        load(
            "maniskill_ppo_openvla",
            [
                f"runner.logger.log_path={tmp_path}",
                "env@env.train=maniskill_push_cube",
                "env.train.init_params.control_mode=pd_ee_pose",
                "env.train.max_episode_steps=80",
            ],
        )
    assert "(bridge) and env.train.init_params (Panda pose)" in str(raised.value)
    assert "it gives x relative, the simulator takes it absolute" in str(raised.value)
    assert "actor.model.action_convention=native" in str(raised.value)


def test_the_key_that_said_it_before_is_answered_with_the_new_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"init_params\.gripper = native(.|\n)*action_convention"):
        load(
            "libero_spatial_ppo_tiny",
            ["+env.train.init_params.gripper=native", f"runner.logger.log_path={tmp_path}"],
        )


@pytest.mark.skipif(find_spec("robosuite") is None, reason="needs robosuite")
def test_robosuite_takes_what_is_declared() -> None:
    spec = find_spec("robosuite")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    settings = json.loads((folder / "controllers/config/osc_pose.json").read_text())
    assert [d.size for d in ROBOSUITE_OSC_POSE.dimensions[:6]] == settings["output_max"]
    assert settings["control_delta"] and settings["input_max"] == 1


@pytest.mark.skipif(find_spec("mani_skill") is None, reason="needs ManiSkill")
def test_maniskills_controllers_take_what_is_declared() -> None:
    from mani_skill.agents.robots.panda.panda import Panda

    for mode, parts in Panda._controller_configs.fget(_Bare(Panda)).items():
        if mode not in CONTROLLERS:
            continue
        arm, *_ = parts.values()
        *moved, fingers = CONTROLLERS[mode].dimensions
        assert {d.relative for d in moved} == {getattr(arm, "use_delta", True)}, mode
        if not arm.normalize_action:
            assert {d.size for d in moved} == {1}, mode
        elif "joint" in mode:
            assert {d.size for d in moved} == {arm.upper}, mode
        else:
            assert {d.size for d in moved[:3]} == {arm.pos_upper}, mode
            assert {d.size for d in moved[3:]} <= {getattr(arm, "rot_lower", None)}, mode
        gripper = parts["gripper"]
        assert gripper.normalize_action and gripper.lower < gripper.upper
        assert fingers.gripper is not None
        assert (fingers.gripper.open, fingers.gripper.closed) == (1, -1)


class _Bare:
    """The class's constants without a robot."""

    def __init__(self, robot: type) -> None:
        self.__dict__.update({k: v for k, v in vars(robot).items() if not k.startswith("_")})


@pytest.mark.skipif(find_spec("mani_skill") is None, reason="needs ManiSkill")
def test_maniskills_tasks_of_a_panda_are_the_declared_ones() -> None:
    import inspect

    import mani_skill.envs  # noqa: F401  registers the tasks
    from mani_skill.utils.registration import REGISTERED_ENVS

    found = set()
    for name, spec in REGISTERED_ENVS.items():
        robot = inspect.signature(spec.cls.__init__).parameters.get("robot_uids")
        on_table = ".tabletop." in spec.cls.__module__
        if on_table and robot is not None and robot.default in ("panda", "panda_wristcam"):
            found.add(name)
    assert found == PANDA_TASKS


def test_what_is_not_declared_is_left_alone() -> None:
    assert taken("PickCubeSO100-v1", "pd_joint_delta_pos") is None
    assert taken("PushCube-v1", "pd_joint_vel") is None
    assert taken("PutCarrotOnPlateInScene-v1", WIDOWX_MODE) is WIDOWX
    params = ManiskillParams(id="PickCube-v1", control_mode="pd_joint_delta_pos", obs_mode="state")
    takes = params.takes()
    assert takes is not None and len(takes.dimensions) == 8
