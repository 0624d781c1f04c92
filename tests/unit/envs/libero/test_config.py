"""The configuration of LIBERO: suites, protocols, and what is refused."""

from __future__ import annotations

from itertools import product

import pytest
from pydantic import ValidationError

from rlinf.config.compose import compose, locate
from rlinf.config.load import load
from rlinf.envs.libero.config import PROTOCOLS, TRIALS, LiberoParams
from rlinf.envs.starts import evaluation_starts


@pytest.mark.parametrize(
    ("suite", "tasks"),
    [
        ("libero_spatial", 10),
        ("libero_object", 10),
        ("libero_goal", 10),
        ("libero_90", 90),
        ("libero_10", 10),
        ("libero_130", 130),
    ],
)
def test_a_suite_has_its_number_of_tasks(suite, tasks):
    params = LiberoParams(task_suite_name=suite)
    assert params.chosen() == tuple(range(tasks))
    assert len(params.task_groups()) == len(params.episode_steps()) == tasks


@pytest.mark.parametrize(
    ("config", "episodes"),
    [
        ("libero_spatial_grpo_openvlaoft", 500),
        ("libero_object_grpo_openvlaoft", 500),
        ("libero_goal_grpo_openvlaoft", 500),
        ("libero_10_grpo_openvlaoft", 500),
        ("libero_10_ppo_openvlaoft", 500),
        ("libero_90_grpo_openvlaoft", 4500),
        ("libero_130_grpo_openvlaoft", 6500),
    ],
)
def test_an_evaluation_has_every_trial_of_every_task_once(config, episodes):
    env = compose(locate(config), [], lambda _: None)["env"]["eval"]
    tasks = LiberoParams(**env["init_params"]).chosen()
    starts = evaluation_starts(0, len(tasks), env["num_trials"], TRIALS)
    assert len(starts) == episodes
    assert {(start.task, start.trial) for start in starts} == set(
        product(range(len(tasks)), range(50))
    )


def test_the_union_has_the_suites_one_after_the_other():
    groups = LiberoParams(task_suite_name="libero_130").task_groups()
    assert groups[:10] == ("libero_spatial",) * 10
    assert groups[10:20] == ("libero_object",) * 10
    assert groups[20:30] == ("libero_goal",) * 10
    assert groups[30:120] == ("libero_90",) * 90
    assert groups[120:] == ("libero_10",) * 10


def test_a_part_of_the_tasks_keeps_their_suites_and_limits():
    params = LiberoParams(
        task_suite_name="libero_130", task_ids=(0, 125, 15), protocol="openvla_oft"
    )
    assert params.task_groups() == ("libero_spatial", "libero_10", "libero_object")
    assert params.episode_steps() == (220, 520, 280)


def test_each_protocol_has_its_published_values():
    rlinf, oft, simple = (PROTOCOLS[n] for n in ("rlinf", "openvla_oft", "simplevla_rl"))
    assert (rlinf.settle_steps, oft.settle_steps, simple.settle_steps) == (15, 10, 10)
    assert {p.settle_gripper for p in (rlinf, oft, simple)} == {"open"}
    assert set(rlinf.episode_steps.values()) == set(simple.episode_steps.values()) == {512}
    assert {p.camera_size for p in (rlinf, oft, simple)} == {256}
    assert all(p.rotate_180 for p in (rlinf, oft, simple))
    assert [p.fixture_seed for p in (rlinf, oft, simple)] == ["episode", "running", "zero"]


def test_a_given_value_replaces_the_protocols_and_nothing_else():
    params = LiberoParams(
        task_suite_name="libero_goal", protocol="openvla_oft", settle_steps=0, rotate_180=False
    )
    resolved = params.resolved()
    assert (resolved.settle_steps, resolved.rotate_180, resolved.camera_size) == (0, False, 256)
    assert PROTOCOLS["openvla_oft"].settle_steps == 10
    assert params.spaces().image_size == (256, 256)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"task_ids": (3, 10)}, "task_ids has 10, libero_goal has tasks 0 to 9"),
        ({"task_ids": (3, 3)}, "task_ids names something twice"),
        ({"cameras": ("agentview", "agentview")}, "cameras names something twice"),
        ({"cameras": ()}, "at least 1"),
        ({"protocol": "published"}, "rlinf"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        LiberoParams(task_suite_name="libero_goal", **wrong)


@pytest.mark.parametrize(
    ("config", "protocol", "steps", "of_tasks"),
    [
        ("libero_10_grpo_openvlaoft", "openvla_oft", 520, {520}),
        ("libero_10_grpo_openvlaoft", "rlinf", 512, {512}),
        ("libero_spatial_grpo_openvlaoft", "openvla_oft", 220, {220}),
        ("libero_130_grpo_openvlaoft", "openvla_oft", 520, {220, 280, 300, 400, 520}),
    ],
)
def test_episodes_are_as_long_as_the_protocol_says(config, protocol, steps, of_tasks, tmp_path):
    chosen = f"env.eval.init_params.protocol={protocol}"
    loaded = load(config, [chosen, f"runner.logger.log_path={tmp_path}"])
    evaluation, training = loaded.config.env.eval, loaded.config.env.train
    assert evaluation.max_episode_steps == steps
    assert {min(steps, limit) for limit in evaluation.init_params.episode_steps()} == of_tasks
    assert training.max_episode_steps == training.max_steps_per_rollout_epoch == 512
    assert not [note for note in loaded.notes if "max_episode_steps" in note]


@pytest.mark.parametrize(("given", "which"), [(512, "shorter"), (600, "longer")])
def test_a_limit_beside_that_of_the_protocol_is_noted(given, which, tmp_path):
    chosen = ["env.eval.init_params.protocol=openvla_oft", f"env.eval.max_episode_steps={given}"]
    notes = load("libero_10_grpo_openvlaoft", [*chosen, f"runner.logger.log_path={tmp_path}"]).notes
    (note,) = [note for note in notes if "max_episode_steps" in note]
    assert f"env.eval.max_episode_steps = {given} is {which} than the 520 steps" in note


def test_grpo_on_libero_settles_with_half_open_fingers_as_its_published_recipes(tmp_path):
    folder = f"runner.logger.log_path={tmp_path}"
    for name, gripper in (
        ("libero_spatial_grpo_openvlaoft", "half_open"),
        ("libero_10_ppo_openvlaoft", "open"),
    ):
        config = load(name, [folder]).config
        for env in (config.env.train, config.env.eval):
            assert env.init_params.resolved().settle_gripper == gripper
