"""Rules of `env.train` and `env.eval`, for the parts that a run uses."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rlinf import registry
from rlinf.algorithms.mixture import task_shares
from rlinf.config.base import nearest_multiples
from rlinf.config.derive import Placement, stage_processes
from rlinf.config.problems import Problem
from rlinf.config.schema import Config, EnvConfig
from rlinf.data.conventions import differences
from rlinf.data.types import Purpose
from rlinf.wording import plural


def used_parts(config: Config, purpose: str = "") -> tuple[Purpose, ...]:
    """The environments that a run builds.

    Args:
        purpose: as for `load`; empty for a training or an evaluation.
    """
    learned = config.imitation.data if config.imitation is not None else ()
    if purpose == "sft" and learned:
        return ()
    if purpose:
        return ("train",)
    if config.runner.only_eval:
        return ("eval",)
    return ("train", "eval") if config.runner.evaluates else ("train",)


def check(config: Config, part: Purpose) -> Iterator[Problem]:
    """What is wrong with a part wherever its processes are placed."""
    env: EnvConfig = getattr(config.env, part)
    yield from _sizes(part, env, config)
    yield from _views(part, env, config)
    yield from _names(part, env, config)
    yield from _conventions(part, env, config)
    if part == "eval":
        yield from _trials(config)
        yield from _shards(config)
    elif config.env.train.mixture is not None:
        yield from _mixture(config)


def check_placed(config: Config, part: Purpose, placement: Placement) -> Iterator[Problem]:
    """What is wrong with a part on these resources."""
    env: EnvConfig = getattr(config.env, part)
    group = config.env.train.group_size if part == "train" else 1
    workers, stages = len(placement["env"]), config.rollout.pipeline_stage_num
    unit = _unit(config, part, placement)
    if env.total_num_envs % unit:
        groups = f" x group_size {group}" if group > 1 else ""
        yield Problem(
            f"env.{part}.total_num_envs = {env.total_num_envs}: must be a multiple of {unit} "
            f"({plural(workers, 'env worker')} x rollout.pipeline_stage_num {stages}{groups})",
            f"try {nearest_multiples(env.total_num_envs, unit)}"
            + (_fewer_epochs(config, unit) if part == "train" else ""),
        )
    yield from simulator(config, part, placement)


def with_enough_envs(config: Config, placement: Placement) -> Config:
    """With the number of training's sub-envs that `check_placed` proposes, where it has but one."""
    unit, train = _unit(config, "train", placement), config.env.train
    if train.total_num_envs >= unit or _fewer_epochs(config, unit):
        return config
    train = train.model_copy(update={"total_num_envs": unit})
    return config.model_copy(update={"env": config.env.model_copy(update={"train": train})})


def _unit(config: Config, part: Purpose, placement: Placement) -> int:
    """Sub-envs of a part come in multiples of it."""
    group = config.env.train.group_size if part == "train" else 1
    return len(placement["env"]) * config.rollout.pipeline_stage_num * group


def _fewer_epochs(config: Config, unit: int) -> str:
    """The rollout epochs with which `unit` sub-envs collect as many samples, for a fix."""
    epochs = config.algorithm.rollout_epoch * config.env.train.total_num_envs / unit
    if epochs < 1 or epochs % 1:
        return ""
    return f"; {unit} collect as many samples with algorithm.rollout_epoch={epochs:.0f}"


def simulator(config: Config, part: Purpose, placement: Placement) -> Iterator[Problem]:
    """What the simulator of a part refuses, on these resources."""
    env: EnvConfig = getattr(config.env, part)
    on_accelerator = placement["env"][0].kind == "accelerator"
    in_stage = env.total_num_envs // (len(placement["env"]) * config.rollout.pipeline_stage_num)
    in_one = in_stage // max(1, stage_processes(env, in_stage, placement))
    yield from env.init_params.problems(f"env.{part}.init_params", on_accelerator, in_one)


def warnings(config: Config, placement: Placement, purpose: str = "") -> list[str]:
    """What is allowed and has hung for others."""
    first = placement["env"][0]
    if first.kind != "accelerator" or 0 in first.resources:
        return []
    names = dict.fromkeys(
        getattr(config.env, part).simulator_type for part in used_parts(config, purpose)
    )
    return [
        f"cluster.component_placement: the env workers of {name} begin at GPU "
        f"{first.resources[0]}; others report that Isaac Sim hangs where they do not begin at GPU 0"
        for name in names
        if registry.simulator(name).from_first_gpu
    ]


def _sizes(part: Purpose, env: EnvConfig, config: Config) -> Iterator[Problem]:
    """The simulator shows what the model reads, in the same sizes."""
    model = config.actor.model
    given, wanted = env.init_params.spaces(), model.spaces()
    for name in ("shows", "obs_dim", "image_size", "action_dim"):
        shown, expected = getattr(given, name), getattr(wanted, name)
        if shown is None or expected is None or shown == expected:
            continue
        fix = "make them equal, or choose another model or observation mode"
        modes = env.init_params.controllers_of(expected) if name == "action_dim" else ()
        if modes:
            fix = (
                f"set env.{part}.init_params.control_mode to {' or '.join(modes)}, or "
                f"actor.model.action_dim={shown}"
            )
        yield Problem(
            f"env.{part}.init_params has {name} {shown}, actor.model "
            f"({model.model_type}) needs {expected}",
            fix,
        )


def _views(part: Purpose, env: EnvConfig, config: Config) -> Iterator[Problem]:
    """There are as many cameras as the model reads; those beyond them are ignored."""
    model = config.actor.model
    shown, wanted = env.init_params.spaces().num_views, model.spaces().num_views
    if shown is not None and wanted is not None and shown < wanted:
        yield Problem(
            f"actor.model.{model.views_key} = {wanted}: env.{part} has {plural(shown, 'camera')}",
            f"set actor.model.{model.views_key}={shown}, or choose a simulator, or cameras of it, "
            f"with {wanted} views",
        )


def _names(part: Purpose, env: EnvConfig, config: Config) -> Iterator[Problem]:
    """What the simulator shows is what the model reads, where both say what that is."""
    model, section = config.actor.model, f"env.{part}.init_params"
    shown, wanted = env.init_params.spaces(), model.spaces()
    if shown.views and wanted.views and shown.views[: len(wanted.views)] != wanted.views:
        yield Problem(
            f"{section} shows the views {', '.join(shown.views)}; actor.model "
            f"({model.model_type}) reads {', '.join(wanted.views)}, in this order",
            "choose the cameras of the simulator, or another actor.model.embodiment",
        )
    if shown.state and wanted.state and shown.state != wanted.state:
        ours, theirs = (
            ", ".join(f"{name} {size}" for name, size in side.state or ())
            for side in (shown, wanted)
        )
        yield Problem(
            f"{section} has the state {ours}; actor.model ({model.model_type}) reads {theirs}",
            "choose another actor.model.embodiment, or describe yours in a .yaml file",
        )


def _conventions(part: Purpose, env: EnvConfig, config: Config) -> Iterator[Problem]:
    """What the model emits can be made what the simulator takes."""
    emitted, taken = config.actor.model.emits(), env.init_params.takes()
    if emitted is None or taken is None:
        return
    for difference in differences(emitted, taken):
        yield Problem(
            f"actor.model ({emitted.title}) and env.{part}.init_params ({taken.title}): "
            f"{difference}",
            "choose another control_mode or simulator; actor.model.action_convention=native "
            "passes the model's numbers on as they are",
        )


def _shards(config: Config) -> Iterator[Problem]:
    shard, shards = config.env.eval.shard, config.env.eval.num_shards
    if shard >= shards:
        yield Problem(
            f"env.eval.shard = {shard}: must be less than env.eval.num_shards = {shards}",
            f"shards are counted from 0: write 0 to {shards - 1}",
        )
    if shards > 1 and not config.runner.only_eval:
        yield Problem(
            f"env.eval.num_shards = {shards}: an evaluation during training has all its trials",
            "remove env.eval.num_shards; `rlinf eval` takes it",
        )


def _trials(config: Config) -> Iterator[Problem]:
    wanted, available = config.env.eval.num_trials, config.env.eval.init_params.num_starts()
    if available and wanted > available:
        yield Problem(
            f"env.eval.num_trials = {wanted}: each task has {available} different starts",
            f"set env.eval.num_trials={available}; algorithm.eval_rollout_epoch repeats them",
        )
    if not config.env.train.hold_out_evaluation:
        return
    trained = config.env.train.init_params.num_starts()
    if trained != available:
        yield Problem(
            f"env.train.hold_out_evaluation = true: training has {trained} numbered starts of each "
            f"task, evaluation {available}, so they are not the same ones",
            "remove env.train.hold_out_evaluation",
        )
    elif available and wanted == available:
        yield Problem(
            f"env.train.hold_out_evaluation = true with env.eval.num_trials = {wanted}: each task "
            f"has {available} different starts, none is left to train on",
            f"lower env.eval.num_trials, for example to {available // 5}, or remove "
            "env.train.hold_out_evaluation",
        )


def mixture_shares(config: Config) -> np.ndarray:
    """The share of each training task that `env.train.mixture` asks for: [tasks] float64, sum 1.

    Raises:
        ValueError: see `task_shares`.
    """
    groups, mixture = config.env.train.init_params.task_groups(), config.env.train.mixture
    if mixture is None or mixture.weights is None:
        return np.full(len(groups), 1.0 / len(groups))
    return task_shares(mixture.weights, groups)


def _mixture(config: Config) -> Iterator[Problem]:
    key, mixture = "env.train.mixture", config.env.train.mixture
    assert mixture is not None
    if len(config.env.train.init_params.task_groups()) < 2:
        yield Problem(
            f"{key}: env.train.init_params has one task, there is nothing to mix",
            f"remove {key}, or choose several tasks in env.train.init_params",
        )
        return
    try:
        mixture_shares(config)
    except ValueError as error:
        yield Problem(
            f"{key}.weights = {dict(mixture.weights or {})}: {error}",
            "name tasks by their index in env.train.init_params, or groups of them such as a suite",
        )
    curriculum = mixture.curriculum
    if curriculum is not None and curriculum.low >= curriculum.high:
        yield Problem(
            f"{key}.curriculum.low = {curriculum.low:g} with high = {curriculum.high:g}: no "
            "success rate lies between them",
            f"set {key}.curriculum.low below {key}.curriculum.high",
        )
