"""A configuration of the published RLinf becomes one of ours that means the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rlinf.config.compose import CONFIG_DIR
from rlinf.config.load import load
from rlinf.config.machine import Machine
from rlinf.config.placement import Node
from rlinf.config.schema import Config
from rlinf.config.validate import validate
from rlinf.convert.convert import Converted, convert
from rlinf.envs.behavior.config import BehaviorParams
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.errors import UserError
from tests.unit.convert.theirs import DATES, PLATE, RECIPES, Date, write

MACHINE = Machine(Node(accelerators=8, cpu_slots=64), 512_000_000_000)
SUPPORTED = [name for name in RECIPES if name.startswith(("maniskill", "libero", "behavior"))]


def checked(converted: Converted, tmp_path: Path) -> Config:
    """What `rlinf check` loads from the written file."""
    file = tmp_path / "theirs" / "ours.yaml"  # beside group files of theirs
    file.write_text(converted.text)
    loaded = load(str(file), [f"runner.logger.log_path={tmp_path}/run"], MACHINE)
    assert [w for w in loaded.warnings if "temperature" not in w and "memory" not in w] == []
    assert not [note for note in loaded.notes if "read as" in note]
    return loaded.config


CASES = [(name, "v0.1", number % 2 == 0) for number, name in enumerate(SUPPORTED)]
CASES += [
    (name, date, date != "v0.2")
    for name in ("maniskill_ppo_openvlaoft", "maniskill_ppo_mlp", "libero_10_grpo_openvlaoft")
    for date in DATES
    if date != "v0.1"
]


@pytest.mark.parametrize(("name", "date", "groups"), CASES)
def test_every_recipe_passes_the_check(name: str, date: Date, groups: bool, tmp_path: Path):
    converted = convert(write(tmp_path / "theirs", name, date, groups))
    assert converted.open == ()
    checked(converted, tmp_path)
    assert not [note for note in converted.notes if "not known" in note]
    assert converted.kept < 60


def converted_config(tmp_path: Path, name: str, date: Date = "v0.1", **changes: object) -> Config:
    config = validate(yaml.safe_load(text_of(tmp_path, name, date, **changes)))
    assert isinstance(config, Config), config
    return config


def text_of(tmp_path: Path, name: str, date: Date = "v0.1", **changes: object) -> str:
    return convert(write(tmp_path / "theirs", name, date, True, **changes)).text


def refusal(tmp_path: Path, name: str, date: Date = "v0.1", **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        convert(write(tmp_path / "theirs", name, date, True, **changes))
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["maniskill_ppo_openvlaoft", "maniskill_ppo_openvla", "maniskill_grpo_openvlaoft"]
)
def test_a_recipe_that_is_shipped_here_too_learns_the_same_task_in_the_same_way(
    name: str, tmp_path: Path
):
    config = checked(convert(write(tmp_path / "theirs", name, "v0.1", True)), tmp_path)
    shipped = load(name, [f"runner.logger.log_path={tmp_path}/run"], MACHINE).config
    assert config.algorithm == shipped.algorithm
    assert config.env.train == shipped.env.train
    assert config.actor.optim == shipped.actor.optim
    for key in ("micro_batch_size", "global_batch_size", "seed"):
        assert getattr(config.actor, key) == getattr(shipped.actor, key)


@pytest.mark.parametrize("date", DATES)
def test_plate_tasks_are_rewarded_in_stages_by_the_robots_own_controller(
    date: Date, tmp_path: Path
):
    config = converted_config(tmp_path, "maniskill_grpo_openvla", date)
    for env in (config.env.train, config.env.eval):
        params = env.init_params
        assert isinstance(params, ManiskillParams)
        assert (params.reward_mode, env.use_rel_reward) == ("staged", True)
        assert params.control_mode == (
            "arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos"  # although `None` stood there
        )
        assert (params.sim_freq, params.control_freq, params.shader) == (500, 5, "default")
    assert config.algorithm.sampling_params.top_k == 50


def test_a_raw_reward_takes_no_difference(tmp_path: Path):
    config = converted_config(tmp_path, "maniskill_ppo_mlp")
    params = config.env.train.init_params
    assert isinstance(params, ManiskillParams)
    assert (params.reward_mode, config.env.train.use_rel_reward) == ("raw", False)
    assert params.control_mode == "pd_joint_delta_pos"


@pytest.mark.parametrize(
    ("date", "changes", "bootstrap"),
    [
        ("2025-12", {}, "always"),
        ("v0.1", {}, "always"),
        ("v0.2", {}, "always"),
        ("v0.3", {}, "always"),  # its own key says so in its ManiSkill files
        ("v0.3", {"algorithm__bootstrap_type": None}, "truncated"),
        ("v0.3", {"algorithm__bootstrap_type": "standard"}, "truncated"),
    ],
)
def test_an_end_adds_the_value_as_it_did_at_that_date(
    date: Date, changes: dict[str, object], bootstrap: str, tmp_path: Path
):
    config = converted_config(tmp_path, "maniskill_ppo_openvlaoft", date, **changes)
    assert config.algorithm.bootstrap == bootstrap


def test_the_oldest_names_of_a_method_are_understood(tmp_path: Path):
    names = {"algorithm__adv_type": "embodied_gae", "algorithm__loss_type": "embodied_ppo"}
    config = converted_config(tmp_path, "maniskill_ppo_openvla", "2025-12", **names)
    assert (config.algorithm.adv_type, config.algorithm.loss_type) == ("gae", "actor_critic")


def test_the_version_can_be_named(tmp_path: Path):
    theirs = write(tmp_path, "maniskill_ppo_openvlaoft", "v0.1")
    assert "bootstrap: always" in convert(theirs).text
    assert "bootstrap" not in convert(theirs, "v0.3").text


@pytest.mark.parametrize(("date", "eps"), [("v0.1", 1e-8), ("v0.3", 1e-5)])
def test_the_optimizer_gets_the_eps_that_it_got_there(date: Date, eps: float, tmp_path: Path):
    changes = {"actor__optim__adam_eps": 1e-5}
    config = converted_config(tmp_path, "maniskill_ppo_openvla", date, **changes)
    assert config.actor.optim.adam_eps == eps


def test_a_warm_up_of_iterations_becomes_one_of_updates(tmp_path: Path):
    changes = {"actor__optim__lr_warmup_steps": 3, "actor__optim__total_training_steps": 100}
    config = converted_config(tmp_path, "maniskill_ppo_openvlaoft", **changes)
    # 128 sub-envs x 20 chunks = 2,560 samples: 4 updates of 640
    assert config.actor.optim.lr_warmup_steps == 12
    assert config.actor.optim.total_training_steps == 400


def test_the_group_of_the_algorithm_wins_over_that_of_the_environment(tmp_path: Path):
    config = converted_config(tmp_path, "maniskill_grpo_openvlaoft")
    assert (config.env.train.group_size, config.env.train.total_num_envs) == (8, 256)
    assert config.env.train.use_fixed_reset_state_ids


def test_nothing_is_cropped_whatever_center_crop_said(tmp_path: Path):
    text = text_of(tmp_path, "libero_10_grpo_openvlaoft")
    model = yaml.safe_load(text)["actor"]["model"]
    assert (model["recipe"], "center_crop" in model) == ("rlinf", False)
    assert "actor.model.center_crop = True: it cut nothing off there" in text
    official = {"actor__model__implement_version": "official"}
    model = yaml.safe_load(text_of(tmp_path, "libero_10_grpo_openvlaoft", "v0.3", **official))
    assert model["actor"]["model"]["recipe"] == "official"
    assert "center_crop" not in model["actor"]["model"]


def test_losses_have_what_reached_them_there(tmp_path: Path):
    config = converted_config(
        tmp_path, "maniskill_ppo_openvla", algorithm__kl_beta=0.5, actor__model__lora_alpha=64
    )
    assert config.algorithm.clip_ratio_c is None
    assert config.algorithm.kl_beta == 0.0
    assert config.actor.model.lora_rank == 32


def test_two_pictures_are_those_of_both_cameras(tmp_path: Path):
    config = converted_config(
        tmp_path, "libero_10_grpo_openvlaoft", actor__model__num_images_in_input=2
    )
    for env in (config.env.train, config.env.eval):
        assert env.init_params.cameras == ("agentview", "robot0_eye_in_hand")


def test_fingers_that_are_told_nothing_while_things_settle_stay_half_open(tmp_path: Path):
    name = "libero_10_grpo_openvlaoft"
    given = {f"env__{part}__reset_gripper_open": False for part in ("train", "eval")}
    assert "settle_gripper: half_open" in text_of(tmp_path, name, **given)
    config = converted_config(tmp_path / "again", name, **given)
    for env in (config.env.train, config.env.eval):
        assert env.init_params.resolved().settle_gripper == "half_open"
    plain = converted_config(tmp_path / "plain", name).env.eval
    assert plain.init_params.resolved().settle_gripper == "open"


def test_an_evaluation_has_as_many_episodes_as_there(tmp_path: Path):
    libero = converted_config(tmp_path, "libero_10_grpo_openvlaoft").env.eval
    assert (libero.num_trials, libero.total_num_envs) == (50, 496)  # 10 tasks; 8 env workers
    plate = converted_config(tmp_path / "plate", "maniskill_grpo_openvla").env.eval
    assert (plate.num_trials, plate.total_num_envs) == (32, 32)


def test_a_file_for_evaluation_alone_needs_nothing_of_training(tmp_path: Path):
    theirs = write(tmp_path / "theirs", "libero_10_grpo_openvlaoft", "v0.3", True)
    main = yaml.safe_load(theirs.read_text())
    main["runner"]["only_eval"] = True
    del main["algorithm"], main["actor"]["optim"]
    for key in ("micro_batch_size", "global_batch_size"):
        del main["actor"][key]
    del main["env"]["train"]["total_num_envs"]
    main["env"]["eval"]["total_num_envs"] = None
    main["actor"]["model"]["add_value_head"] = False
    theirs.write_text(yaml.safe_dump(main))
    converted = convert(theirs)
    assert converted.open == (), converted.open
    config = checked(converted, tmp_path)
    assert config.runner.only_eval
    assert config.algorithm.sampling_params.temperature_eval == 1.6


def test_a_search_path_from_the_environment_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("EMBODIED_PATH", raising=False)
    (note,) = convert(write(tmp_path, "maniskill_ppo_openvla", "v0.1")).notes[1:]
    assert note == (
        "not beside the file, taken as they are usually: "
        f"env/{PLATE}, model/openvla, training_backend/fsdp"
    )


def test_a_value_that_refers_to_nothing_is_left_out_and_named(tmp_path: Path):
    changes = {"env__train__prompt_file": "${oc.env:NOT_SET}/prompts", "actor__seed": "${nothing}"}
    theirs = write(tmp_path, "maniskill_ppo_openvla", "v0.1", True, **changes)
    assert convert(theirs).notes[1] == (
        "refers to something that is not there, and was left out: env.train.prompt_file, actor.seed"
    )


def test_keys_that_nothing_is_known_of_are_named(tmp_path: Path):
    changes = {"algorithm__my_own_trick": 3}
    assert "look whether they matter: algorithm.my_own_trick = 3" in text_of(
        tmp_path, "maniskill_ppo_openvla", **changes
    ).replace("\n#  ", "")


def test_behavior_evaluates_on_the_instances_of_the_challenge(tmp_path: Path):
    config = converted_config(tmp_path, "behavior_ppo_openvlaoft")
    train, evaluation = config.env.train.init_params, config.env.eval.init_params
    assert isinstance(train, BehaviorParams) and isinstance(evaluation, BehaviorParams)
    assert train.activities() == ("turning_on_radio",)
    assert (train.num_starts(), evaluation.num_starts()) == (200, 10)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"actor__model__policy_setup": "google_robot"}, "which controller it chose"),
        ({"env__train__reward_mode": "other"}, "env.train.reward_mode = other"),
        ({"algorithm__adv_type": "embodied_sac"}, "algorithm.adv_type = embodied_sac"),
        ({"actor__model__num_images_in_input": 2}, "openvla reads one picture"),
        ({"actor__model__use_film": True}, "models with FiLM"),
        ({"runner__task_type": "reasoning"}, "runner.task_type = reasoning"),
        ({"reward__use_reward_model": True}, "reward.use_reward_model = true"),
        ({"critic__use_critic_model": True}, "critic.use_critic_model = true"),
        ({"env__train__init_params": {"id": "PickCube-v1"}}, "staged reward needs a task"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(
    changes: dict[str, object], words: str, tmp_path: Path
):
    assert words in refusal(tmp_path, "maniskill_ppo_openvla", **changes)


def test_groups_that_are_neither_there_nor_known_are_named(tmp_path: Path):
    theirs = write(tmp_path, "maniskill_ppo_openvla", "v0.1", defaults=["env/mine@env.train"])
    with pytest.raises(UserError, match=r"(?s)nothing says which simulator.*not known: env/mine"):
        convert(theirs)


def test_a_configuration_of_ours_needs_no_conversion():
    with pytest.raises(UserError, match="it needs no conversion"):
        convert(CONFIG_DIR / "maniskill_ppo_openvla.yaml")
