"""An OpenVLA-OFT configuration as a whole run on Ray, with a tiny model and a small task.

All six configurations train in one process in tests/unit/workers/test_openvla_configs.py.
"""

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
    "env.train.max_steps_per_rollout_epoch=8",
    "env.train.total_num_envs=4",
    "env.train.num_processes=1",
    "env.eval.total_num_envs=4",
    "cluster.component_placement={env: 0, rollout: 0, actor: 0}",
    "runner.max_steps=2",
    "actor.micro_batch_size=2",
    "actor.global_batch_size=4",
    "actor.model.lora_path=null",
    f"actor.model.unnorm_key={UNNORM_KEY}",
)


@pytest.mark.slow
def test_a_shipped_configuration_runs_two_iterations_and_exports_a_model(tmp_path: Path):
    model = f"actor.model.model_path={write_folder(tmp_path / 'model')}"
    runs.run("train", "maniskill_ppo_openvlaoft", tmp_path / "run", *SMALL, model)
    records = [line for line in runs.metrics(tmp_path / "run") if "train/loss" in line]
    assert len(records) == 2
    assert all(line["train/actor/grad_norm"] > 0 for line in records)
    # With the weights that acted, the ratio of new to old probability is 1 in the first update; in
    # bf16 up to the rounding of batches of another size.
    assert abs(records[0]["train/actor/approx_kl"]) < 1e-2
    assert (tmp_path / "run/export/model.safetensors").is_file()  # adapters folded in
