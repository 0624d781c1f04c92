"""`cluster`, `runner`, `rollout` and `actor.fsdp_config` of the published RLinf."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from rlinf.config import tree
from rlinf.config.placement import Node, parse
from rlinf.config.schema import FsdpConfig
from rlinf.config.tree import Tree
from rlinf.convert.draft import Draft

_LIMITS = ("max_epochs", "max_steps", "val_check_interval", "save_interval")
_FSDP = tuple(set(FsdpConfig.model_fields) - {"strategy", "mixed_precision"})
_ACCELERATORS = 8  # of a node, where the placement does not say
_CORES = 64


def convert_run(draft: Draft) -> None:
    """Carries over where things run, for how long, and how weights are spread."""
    for key in ("num_nodes", "component_placement", "node_groups"):
        draft.carry(f"cluster.{key}")
    for group in tree.get(draft.ours, "cluster.node_groups") or ():
        if isinstance(group, dict) and group.pop("hardware", None) is not None:
            draft.left_out.append(("cluster.node_groups.hardware", "there are no robots here"))
    _convert_runner(draft)
    draft.carry("rollout.pipeline_stage_num")
    for part in ("rollout", "actor"):
        draft.put(f"{part}.enable_offload", draft.take(f"{part}.enable_offload") or None)
    _convert_fsdp(draft)
    _fit_evaluation_envs(draft)


def _convert_runner(draft: Draft) -> None:
    kind = draft.take("runner.task_type")
    if kind not in (None, "embodied"):
        draft.lose(f"runner.task_type = {kind}: not part of this version", "choose embodied")
    for key in ("reward.use_reward_model", "critic.use_critic_model"):
        if draft.look(key):
            draft.lose(f"{key} = true: not part of this version", "set it to false")
    for key in _LIMITS:
        draft.carry(f"runner.{key}")
    draft.put("runner.only_eval", draft.take("runner.only_eval") or None)
    draft.put("runner.ckpt_path", draft.take("runner.ckpt_path", "runner.eval_policy_path"))
    if draft.look("runner.resume_dir"):
        draft.leave("runner.resume_dir", "its checkpoints hold another state; export the weights")
    logger = "runner.logger"
    for key in ("project_name", "logger_backends"):
        draft.carry(f"{logger}.{key}")
    draft.leave(
        f"{logger}.log_path",
        "its start script wrote to logs/<date-time> all the same, and so does a run here",
    )
    draft.leave(f"{logger}.experiment_name", "a run is named after its configuration and start")


def _convert_fsdp(draft: Draft) -> None:
    fsdp = "actor.fsdp_config"
    draft.put(
        f"{fsdp}.sharding_strategy",
        draft.take(f"{fsdp}.sharding_strategy", "actor.model.sharding_strategy"),
    )
    for key in sorted(_FSDP):
        draft.carry(f"{fsdp}.{key}")
    draft.leave(f"{fsdp}.strategy", "there is one way to shard, fully_shard of PyTorch")
    mixed = f"{fsdp}.mixed_precision"
    draft.leave(f"{mixed}.param_dtype", "actor.model.precision says it")
    draft.carry(f"{mixed}.reduce_dtype")


def assumed_nodes(ours: Tree) -> Sequence[Node]:
    """Nodes as the placement needs them, of eight accelerators each where it does not say."""
    count = int(tree.get(ours, "cluster.num_nodes") or 1)
    highest = max(_resources(tree.get(ours, "cluster.component_placement")), default=0)
    each = max(_ACCELERATORS, -(-(highest + 1) // count))
    return [Node(each, _CORES)] * count


def _resources(placement: Any) -> Iterator[int]:
    """Numbers of resources that a placement names; `0-3:0-7` names 0 and 3."""
    for value in placement.values() if isinstance(placement, dict) else [placement]:
        for segment in str(value).split(","):
            yield from map(int, re.findall(r"\d+", segment.partition(":")[0]))


def _fit_evaluation_envs(draft: Draft) -> None:
    """Every worker and stage has equally many; how many trials there are is another key."""
    key = "env.eval.total_num_envs"
    envs = tree.get(draft.ours, key)
    placement = tree.get(draft.ours, "cluster.component_placement") or "all"
    if envs is None:
        return
    workers = len(
        parse(placement, assumed_nodes(draft.ours), ())["env"]
        if not tree.get(draft.ours, "cluster.node_groups")
        else [None]
    )
    unit = workers * int(tree.get(draft.ours, "rollout.pipeline_stage_num") or 1)
    fitting = max(unit, envs // unit * unit)
    if fitting != envs:
        draft.put(key, fitting, f"{envs} there; every trial is run once, whatever this number")
