"""`init_params` of BEHAVIOR, and what is missing on a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from rlinf.config.load import load
from rlinf.config.machine import Machine, Node
from rlinf.envs.behavior import data, robot
from rlinf.envs.behavior.config import BehaviorParams
from rlinf.errors import UserError
from tests.behavior import EVALUATION, SCENE, TRAINING, data_sets

LAPTOP = Machine(Node(accelerators=0, cpu_slots=2), 16_000_000_000)


def test_three_views_and_23_numbers_are_the_usual():
    params = BehaviorParams(tasks="0")
    spaces = params.spaces()
    assert spaces[:5] == ("images", 23, (224, 224), 23, 3)
    assert spaces.views == ("main", "left_wrist", "right_wrist")
    assert spaces.state == tuple((name, robot.size_of(name)) for name in robot.STATE)
    assert (params.task_groups(), params.steps_per_second()) == ((), 30)
    assert params.takes() is robot.CONVENTION


def test_without_cameras_the_policy_sees_the_state_alone():
    spaces = BehaviorParams(tasks="0", cameras=(), state=("trunk_qpos",)).spaces()
    assert spaces[:5] == ("state", 4, None, 23, None)


def test_training_and_evaluation_have_instances_of_their_own():
    params = BehaviorParams(tasks="0")
    assert params.num_starts() == 200
    assert params.model_copy(update={"instances": "evaluation"}).num_starts() == 10


def test_one_process_steps_all_sub_envs_of_an_activity_and_several_activities_one_each():
    assert BehaviorParams(tasks="0").processes(4, True) == 1
    several = BehaviorParams(tasks="0-1")
    assert several.processes(4, True) == 4
    assert several.task_groups() == ("turning_on_radio", "picking_up_trash")
    assert list(several.problems("env.eval.init_params", True, 1)) == []
    (problem,) = several.problems("env.eval.init_params", True, 2)
    assert "env.eval.init_params.tasks = 0-1: all sub-envs of a process run one" in problem.message


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tasks": "turn_on_radio"}, "write turning_on_radio"),
        ({"tasks": "0", "cameras": ("main", "main")}, "cameras names something twice"),
        ({"tasks": "0", "cameras": ("wrist",)}, "'main', 'left_wrist' or 'right_wrist'"),
        ({"tasks": "0", "state": ("torso",)}, "there is no slice torso; there are joint_qpos"),
        ({"tasks": "0", "activity_name": "x"}, "Extra inputs"),
    ],
)
def test_what_there_is_not_is_named(settings: dict[str, object], said: str):
    with pytest.raises(ValidationError) as caught:
        BehaviorParams(**settings)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("written", "tasks"),
    [("0", "0"), ("0-9,49", "0-9,49"), ("[0,3-4]", "0,3-4")],
)
def test_activities_are_written_as_yaml_has_them(written: str, tasks: str):
    params = f"env.train.init_params.tasks={written}"
    config = load("behavior_ppo_openvlaoft", [params], LAPTOP).config
    assert isinstance(config.env.train.init_params, BehaviorParams)
    assert config.env.train.init_params.tasks == tasks


@pytest.mark.parametrize("written", ["[]", "true", "[[1]]", "1.5"])
def test_what_is_no_list_of_activities_is_refused(written: str):
    with pytest.raises(UserError, match="must be a valid string"):
        load("behavior_ppo_openvlaoft", [f"env.train.init_params.tasks={written}"], LAPTOP)


def test_a_wrong_activity_is_refused_with_its_key_and_one_fix():
    with pytest.raises(UserError) as caught:
        load("behavior_ppo_openvlaoft", ["env.train.init_params.tasks=turn_on_radio"], LAPTOP)
    assert str(caught.value).splitlines() == [
        'env.train.init_params.tasks = "turn_on_radio": there is no activity turn_on_radio among '
        "the 50 of the challenge",
        "  fix: write turning_on_radio",
    ]


def test_what_is_missing_on_a_machine_is_named_with_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in (data.ISAAC, data.DATA):
        monkeypatch.delenv(name, raising=False)
    missing = BehaviorParams(tasks="0").missing_assets()
    assert missing is not None
    assert missing[0] == "BEHAVIOR: ISAAC_PATH is not set; OMNIGIBSON_DATA_PATH is not set"
    assert "more than 30 GB free, then: rlinf assets download behavior --acc" in missing[1]

    monkeypatch.setenv(data.DATA, str(tmp_path))
    packaged = BehaviorParams(tasks="0", isaac_sim="package")
    missing = packaged.missing_assets()
    assert missing is not None
    for title in ("robot assets", "BEHAVIOR-1K assets", "task instances of the 2025 challenge"):
        assert f"no {title}" in missing[0]
    data_sets(tmp_path)
    assert packaged.missing_assets() is None
    (tmp_path / "omnigibson.key").unlink()
    missing = packaged.missing_assets()
    assert missing is not None and "no omnigibson.key, the key of the assets" in missing[0]
    monkeypatch.setenv(data.ISAAC, str(tmp_path / "gone"))
    missing = BehaviorParams(tasks="0").missing_assets()
    assert missing is not None and "there is no such folder" in missing[0]


def test_paths_are_judged_as_those_who_read_them_take_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """OmniGibson knows `~`, and takes a relative path from its package on; Isaac Sim does not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    data_sets(tmp_path / "data")
    packaged = BehaviorParams(tasks="0", isaac_sim="package")
    monkeypatch.setenv(data.DATA, "~/data")
    assert packaged.missing_assets() is None
    monkeypatch.setenv(data.DATA, "data")
    missing = packaged.missing_assets()
    assert missing is not None and "takes a relative path from its own package on" in missing[0]
    assert missing[1] == f"export OMNIGIBSON_DATA_PATH={tmp_path}/data"
    monkeypatch.setenv(data.DATA, "~/data")
    monkeypatch.setenv(data.ISAAC, "~")
    missing = BehaviorParams(tasks="0").missing_assets()
    assert missing is not None
    assert missing[0] == "BEHAVIOR: ISAAC_PATH = ~: there is no such folder"


def test_the_instances_that_the_challenge_evaluates_on_are_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(data.DATA, str(data_sets(tmp_path / "data")))
    found = data.instances("turning_on_radio")
    assert found.scene == SCENE
    for paths, numbers in ((found.training, TRAINING), (found.evaluation, EVALUATION)):
        names = [f"_0_{number}_template-tro_state.json" for number in numbers]
        assert len(paths) == len(names)
        assert all(path.name.endswith(name) for path, name in zip(paths, names, strict=True))
    with pytest.raises(UserError, match="no instances of the activity make_pizza"):
        data.instances("make_pizza")
    found.evaluation[3].unlink()
    with pytest.raises(UserError, match="has no instance 303, which the challenge evaluates on"):
        data.instances("turning_on_radio")
