"""Trainings through Ray on IsaacLab with Newton, and a simulator that is killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.e2e import faults, runs
from tests.own_pythons import hosted

NO_EVALUATION = ("runner.val_check_interval=-1",)
STACKING = (
    *NO_EVALUATION,
    "runner.max_steps=1",
    "runner.save_interval=-1",
    "imitation.num_demonstrations=1",  # of as many steps as an episode has
    "imitation.steps=2",
    "env.train.init_params.fast_physics=true",
    "env.train.total_num_envs=2",
    "env.train.max_steps_per_rollout_epoch=16",
    "env.train.max_episode_steps=16",
    "actor.micro_batch_size=4",
    "actor.global_batch_size=4",
)


@pytest.mark.slow
def test_the_arm_learns_to_reach(tmp_path: Path):
    hosted("isaaclab")
    runs.run(
        *("train", "isaaclab_ppo_mlp", tmp_path, *NO_EVALUATION),
        *("runner.max_steps=12", "runner.save_interval=-1"),
    )
    success = [numbers["env/success_once"] for numbers in runs.metrics(tmp_path)]
    assert max(success[:2]) < 0.2 < success[-1] - success[0]


@pytest.mark.slow
def test_a_simulator_that_is_killed_is_replaced_and_its_episodes_are_dropped(tmp_path: Path):
    reach = {"id": "reach", "cameras": (), "fast_physics": True}
    faults.replaced("isaaclab", reach, signal.SIGKILL, tmp_path / "log")


@pytest.mark.slow
def test_the_tiny_policy_imitates_the_expert_of_the_stacking_task_and_is_updated(tmp_path: Path):
    hosted("isaaclab")
    runs.run(
        *("train", "isaaclab_stack_cube_tiny", tmp_path / "run", *STACKING),
        f"imitation.cache_dir={tmp_path / 'cache'}",
    )
    (numbers,) = runs.metrics(tmp_path / "run")
    assert numbers["env/num_episodes"] >= 2
    assert numbers["train/actor/grad_norm"] > 0
