"""No key is accepted and does nothing: a value without an effect is reported with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from tests.tiny_openvla import UNNORM_KEY, write_folder
from tests.unit.config.test_checks import GRPO

Load = Callable[..., Loaded]

# `toy_ppo_mlp` has auto_reset and PPO; GRPO with groups of 8 needs other batches.
TOY_GRPO = (*GRPO, "actor.micro_batch_size=1600", "actor.global_batch_size=1600")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            (*TOY_GRPO, "actor.optim.value_lr=1e-4"),
            "actor.optim.value_lr = 0.0001 has no effect with no",
        ),
        (
            (*TOY_GRPO, "algorithm.value_clip=0.3"),
            "algorithm.value_clip = 0.3 has no effect with GRPO",
        ),
        (("actor.optim.min_lr_ratio=0.1",), "min_lr_ratio = 0.1 has no effect with warmup_style"),
        (("actor.optim.total_training_steps=9",), "total_training_steps = 9 has no effect with a"),
        (
            ("actor.optim.lr_warmup_steps=5", "actor.optim.lr_warmup_steps_ratio=0.1"),
            "lr_warmup_steps_ratio = 0.1 has no effect with lr_warmup_steps = 5",
        ),
        (("algorithm.kl_penalty=kl",), "algorithm.kl_penalty = k1 has no effect with kl_beta = 0"),
        (
            (
                "algorithm.sampling_params.do_sample=false",
                "algorithm.sampling_params.temperature_eval=0.6",
            ),
            "temperature_eval = 0.6 has no effect with do_sample = false",
        ),
        (
            ("env.train.use_fixed_reset_state_ids=true",),
            "env.train.use_fixed_reset_state_ids = true has no effect with group_size = 1",
        ),
        (
            ("env.eval.video_cfg.max_videos=3", "env.eval.video_cfg.save_video=false"),
            "env.eval.video_cfg.max_videos = 3 has no effect with save_video = false",
        ),
        (
            ("env.eval.video_cfg.only=failures",),
            "env.eval.video_cfg.only = failures has no effect with save_video = false",
        ),
        (
            (
                "env.eval.video_cfg.save_video=true",
                "env.eval.video_cfg.only=all",
                "env.eval.video_cfg.num_envs_shown=2",
            ),
            "num_envs_shown = 2 has no effect with only = all, which shows all of them",
        ),
        (("env.train.num_processes=2",), "env.train.num_processes = 2 has no effect with sub-envs"),
        (
            ("runner.max_steps=4000",),
            "runner.max_steps = 4000 has no effect with runner.max_epochs = 1000, which is smaller",
        ),
        (
            ("runner.max_epochs=50",),  # the file says max_steps: 20
            "runner.max_epochs = 50 has no effect with runner.max_steps = 20, which is smaller",
        ),
        (("runner.logger.project_name=mine",), "project_name = mine has no effect with neither"),
        (
            ("cluster.ray_port=6400", "cluster.ray_address=10.0.0.1:6379"),
            "cluster.ray_port = 6400 has no effect with cluster.ray_address = 10.0.0.1:6379",
        ),
    ],
)
def test_a_value_that_nothing_reads_is_reported(
    load_toy: Load, overrides: tuple[str, ...], words: str
) -> None:
    assert any(words in warning for warning in load_toy(*overrides).warnings)


def test_the_same_values_are_not_told_where_they_count(load_toy: Load) -> None:
    loaded = load_toy(
        "runner.max_steps=4000",
        "runner.max_epochs=-1",
        "actor.optim.value_lr=1e-4",
        "algorithm.value_clip=0.3",
        "actor.optim.warmup_style=cosine",
        "actor.optim.min_lr_ratio=0.1",
        "actor.optim.total_training_steps=9",
        "algorithm.kl_beta=0.1",
        "algorithm.kl_penalty=k2",
        "env.eval.video_cfg.save_video=true",
        "env.eval.video_cfg.max_videos=3",
        "runner.logger.logger_backends=[wandb]",
        "runner.logger.project_name=mine",
    )
    assert loaded.warnings == ()


def test_a_training_key_is_not_told_to_an_evaluation(load_toy: Load) -> None:
    assert load_toy("runner.only_eval=true", "algorithm.kl_penalty=k2").warnings == ()


@pytest.mark.parametrize(("lora", "told"), [("false", True), ("true", False)])
def test_a_rank_of_adapters_that_there_are_not_is_reported(
    tmp_path: Path, gpu_machine: Machine, lora: str, told: bool
) -> None:
    overrides = (
        f"runner.logger.log_path={tmp_path}/run",
        f"actor.model.model_path={write_folder(tmp_path / 'model')}",
        f"actor.model.unnorm_key={UNNORM_KEY}",
        f"actor.model.is_lora={lora}",
        "actor.model.lora_rank=16",
    )
    warnings = load("maniskill_ppo_openvla", overrides, gpu_machine).warnings
    words = "actor.model.lora_rank = 16 has no effect with is_lora = false"
    assert (words in warnings) == told


def test_the_level_of_an_entropy_that_is_only_reported_is_noted(load_toy: Load) -> None:
    level = "algorithm.entropy_type=chunk"
    assert "entropy_type = chunk changes the entropy that is reported" in load_toy(level).notes[0]
    assert load_toy(level, "algorithm.entropy_bonus=0.01").notes == ()
    assert load_toy("algorithm.entropy_type=action").notes == ()  # the level of its ratio


def test_the_cameras_of_a_state_are_reported(tmp_path: Path, laptop: Machine) -> None:
    size = "env.train.init_params.image_size=[32,32]"
    found = load("maniskill_ppo_mlp", [f"runner.logger.log_path={tmp_path}/run", size], laptop)
    words = "env.train.init_params.image_size = (32, 32) has no effect with obs_mode = state"
    assert words in found.warnings
