"""The shipped OpenVLA configurations run, with a tiny checkpoint and a small task."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import runs
from tests.tiny_openvla import UNNORM_KEY, write_folder

SMALL = (
    "env@env.train=maniskill_push_cube",
    "env@env.eval=maniskill_push_cube",
    "env.train.init_params.reward_mode=normalized_dense",
    "env.train.max_episode_steps=8",
    "env.train.total_num_envs=4",
    "env.train.num_processes=2",
    "env.eval.total_num_envs=4",
    "env.eval.num_processes=2",
    "cluster.component_placement={env: 0, rollout: 0, actor: 0}",
    "runner.max_steps=2",
    "actor.model.precision=fp32",
    f"actor.model.unnorm_key={UNNORM_KEY}",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ("maniskill_ppo_openvla", ("env.train.max_steps_per_rollout_epoch=8",)),
        ("maniskill_grpo_openvla", ("env.train.group_size=2",)),
        ("maniskill_ppo_openvlaoft", ("env.train.max_steps_per_rollout_epoch=8",)),
        ("maniskill_grpo_openvlaoft", ("env.train.group_size=2",)),
    ],
)
def test_a_shipped_configuration_runs_two_iterations(
    config: str, settings: tuple[str, ...], tmp_path: Path
):
    model = write_folder(tmp_path / "model")
    samples = 4 if "oft" in config else 32  # chunks of 8 actions, or of one, of 4 episodes
    own = (
        f"actor.model.model_path={model}",
        f"actor.micro_batch_size={samples // 2}",
        f"actor.global_batch_size={samples}",
        *(("actor.model.lora_path=null",) if "oft" in config else ()),
    )
    runs.run("train", config, tmp_path / "run", *SMALL, *settings, *own, timeout=600)
    records = [line for line in runs.metrics(tmp_path / "run") if "train/loss" in line]
    assert len(records) == 2
    assert all(line["train/actor/grad_norm"] >= 0 for line in records)
    # With the weights that acted, the ratio of new to old probability is 1 in the first update.
    assert abs(records[0]["train/actor/approx_kl"]) < 1e-4
