"""The shipped GR00T configurations train, in one process, with a tiny model and a small task.

As `test_openvla_configs.py`: only Ray and the sizes differ from a run.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlinf.config.load import load
from rlinf.envs.factory import make_batch
from rlinf.workers.actor import ActorWorker
from rlinf.workers.env import train_stage
from rlinf.workers.rollout import RolloutWorker
from tests import tiny_gr00t
from tests.unit.models.gr00t.golden import Gr00tSet, sets
from tests.unit.workers.conftest import LocalPolicy, learn
from tests.unit.workers.test_openvla_configs import (
    MANISKILL,
    WITHOUT_LIBERO,
    one_group,
    reward_one_episode,
)

__all__ = ["one_group"]
SMALL = (
    "cluster.accelerators_per_node=0",
    "cluster.component_placement={env: 0, rollout: 0, actor: 0}",
    "rollout.pipeline_stage_num=1",
    "env.train.total_num_envs=2",
    "env.train.max_episode_steps=8",
    "env.train.max_steps_per_rollout_epoch=8",
    "env.eval.total_num_envs=2",
    "algorithm.rollout_epoch=1",
    "actor.model.precision=fp32",
    "actor.model.num_action_chunks=4",
    "actor.micro_batch_size=2",
    "actor.global_batch_size=4",
)
LIBERO = tuple(
    f"env.{part}.init_params.{setting}"
    for part in ("train", "eval")
    for setting in ("camera_size=32", "settle_steps=1")
)


GRPO = (
    "algorithm.adv_type=grpo",
    "algorithm.loss_type=actor",
    "actor.model.add_value_head=false",
    "env.train.group_size=2",
    "env.train.auto_reset=false",
    "env.train.use_fixed_reset_state_ids=true",
)


def recorded(golden: Gr00tSet) -> tuple[str, ...]:
    """Overrides that name a recorded checkpoint in place of the tiny one."""
    return (
        f"actor.model.model_path={golden.checkpoint}",
        f"actor.model.processor_path={golden.processor}",
    )


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("maniskill_ppo_gr00t", ()),
        ("maniskill_ppo_gr00t", ("actor.model.keep_features=true",)),
        ("maniskill_ppo_gr00t", GRPO),
        ("maniskill_ppo_gr00t", ("actor.model.is_lora=true", "actor.model.lora_parts=both")),
        pytest.param("libero_spatial_ppo_gr00t", (), marks=WITHOUT_LIBERO),
        pytest.param("libero_10_ppo_gr00t", GRPO, marks=WITHOUT_LIBERO),
        *(
            pytest.param(f"libero_{suite}_ppo_gr00t", recorded(one.values[0]), marks=WITHOUT_LIBERO)
            for suite in ("goal", "object")
            for one in sets()
            if not one.marks
        ),
    ],
)
def test_two_iterations_of_a_shipped_configuration(
    name: str, more: tuple[str, ...], tmp_path: Path
):
    model = tiny_gr00t.write_folder(tmp_path / "model")
    own = [
        f"actor.model.model_path={model}",
        "actor.model.processor_path=null",
        f"runner.logger.log_path={tmp_path}",
        *(LIBERO if "libero" in name else MANISKILL),
        *more,
    ]
    if "maniskill" in name:  # a Panda stands in for the WidowX, whose task needs assets
        tags = {"mine": tiny_gr00t.metadata({"robot": 9}, {"arm": 7})}
        (model / "experiment_cfg" / "metadata.json").write_text(json.dumps(tags))
        mine = tiny_gr00t.write_embodiment(tmp_path / "mine.yaml", 9)
        own += [f"actor.model.embodiment={mine}"]
    loaded = load(name, [*SMALL, *own])
    config = loaded.config
    acting = RolloutWorker(config, rank=0, threads=1, log_dir=str(tmp_path))
    learning = ActorWorker(config, 0, 1, 1, 100, lambda refs: refs, str(tmp_path))
    final = config.algorithm.bootstrap if config.algorithm.critic else "none"
    batch = make_batch(config.env.train, 2, 0, final, 0, tmp_path / "env.log")
    between = loaded.plan.train.conversion
    stage = train_stage(config)(config, batch, LocalPolicy(acting), 0, conversion=between)
    for step in range(2):
        trajectories = stage.collect(step, version=step)
        reward_one_episode(trajectories)
        assert learn(trajectories, step, learning, acting) == 4
    batch.close()
