"""A flow policy, shortened: imitation by flow matching, then PPO; success must rise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import runs

pytest.importorskip("mani_skill", reason="ManiSkill is not installed")

PART_WAY = (
    # One core for each that computes: other tests run beside this one.
    "cluster.component_placement={env: 'all:0', rollout: 0, actor: 0}",
    "runner.max_steps=3",
    "runner.val_check_interval=-1",
    "env.train.max_steps_per_rollout_epoch=96",
    "imitation.num_demonstrations=200",
    "imitation.steps=250",
    "actor.micro_batch_size=128",
    "actor.global_batch_size=128",
    "actor.optim.lr_warmup_steps=8",
    "algorithm.update_epoch=3",
)


def test_success_rises_over_that_of_the_imitation(tmp_path: Path):
    cache = f"imitation.cache_dir={tmp_path / 'cache'}"
    runs.run("train", "maniskill_ppo_flow_tiny", tmp_path / "run", *PART_WAY, cache)
    records = [r for r in runs.metrics(tmp_path / "run") if "env/success_once" in r]
    # The first iteration acts with what imitation taught. Some 80 episodes in each.
    assert records[-1]["env/success_once"] >= records[0]["env/success_once"] + 0.1
    # Rollout and actor computed the same log-probs of the same chains.
    assert records[0]["train/actor/logprob_mismatch_max"] < 1e-4
