"""What limits a run: simulator, policy, update or transfer, in one sentence, and what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Part = Literal["simulator", "policy", "update", "transfer", "turns"]

TRAINING = ("sync", "rollout", "advantages", "update")
"""Phases of an iteration without evaluations and checkpoints."""
RECENT = 20  # iterations that are looked at
BUSY = 0.6  # share of the rollout from which on a component has hardly a pause


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The part that an iteration waits for."""

    part: Part
    sentence: str
    settings: list[str]  # what to try, the most promising first; `key: value` or a sentence
    seconds: dict[str, float]  # of a mean iteration, by phase
    busy: dict[str, float]  # share of the iteration in which a component works


def bottleneck(
    records: Sequence[Mapping[str, Any]], config: Mapping[str, object]
) -> Bottleneck | None:
    """Judges by the last iterations; those with an evaluation only where there are no others.

    Args:
        records: lines of `metrics.jsonl`, in order.
        config: values by dotted key.

    Returns:
        None where no iteration says how long its phases took.
    """
    timed = [record for record in records if record.get("time/rollout") and record.get("time/step")]
    plain = [record for record in timed if "time/eval" not in record]
    used = (plain or timed)[-RECENT:]
    if not used:
        return None
    seconds = {name: _mean(used, f"time/{name}") for name in TRAINING}
    seconds = {name: value for name, value in seconds.items() if value > 0}
    step = _mean(used, "time/step")
    idle = {name: _mean(used, f"time/idle_{name}", 1.0) for name in ("env", "rollout", "actor")}
    busy = {name: 1.0 - share for name, share in idle.items()}
    others = {name: _mean(used, f"time/{name}") for name in ("eval", "save")}
    shown = {**seconds, **{name: value for name, value in others.items() if value > 0}}
    part, sentence = _judge(seconds, busy, step)
    return Bottleneck(part, sentence, _settings(part, config), shown, busy)


def _judge(
    seconds: Mapping[str, float], busy: Mapping[str, float], step: float
) -> tuple[Part, str]:
    training = sum(seconds.values())
    longest = max(seconds, key=lambda name: seconds[name])
    share = f"{seconds[longest] / training:.0%} of an iteration"
    if longest == "sync":
        return "transfer", (
            f"Transfer limits this run: sending new weights to the policy takes {share}."
        )
    if longest in ("update", "advantages"):
        return "update", (
            f"The update limits this run: it takes {share}; simulators and policy wait meanwhile."
        )
    # An iteration's idle shares count all of it; a component that only works in the rollout is
    # busy for a larger share of that.
    rollout = seconds["rollout"]
    env, policy = (min(1.0, busy[name] * step / rollout) for name in ("env", "rollout"))
    both = f"in the rollout ({share}) simulators are busy {env:.0%} and the policy {policy:.0%}"
    if max(env, policy) < BUSY:
        return "turns", f"Simulators and policy wait for each other: {both}."
    if env >= policy:
        return "simulator", f"The simulator limits this run: {both}."
    return "policy", f"The policy limits this run: {both}."


def _settings(part: Part, config: Mapping[str, object]) -> list[str]:
    """What the guide on performance advises, without what is set already."""
    one_stage = config.get("rollout.pipeline_stage_num") == 1
    synchronous = config.get("runner.mode") != "async"
    tries: dict[Part, list[tuple[bool, str]]] = {
        "simulator": [
            (one_stage, "rollout.pipeline_stage_num: 2"),
            (True, _more(config, "env.train.total_num_envs")),
            (True, "cluster.component_placement: more cores, devices or machines for env"),
            (
                config.get("env.train.video_cfg.save_video") is True,
                "env.train.video_cfg.save_video: false",
            ),
            (
                config.get("env.train.init_params.light_visuals") is False,
                "env.train.init_params.light_visuals: true",
            ),
        ],
        "policy": [
            (
                config.get("rollout.max_batch_size") is not None,
                f"rollout.max_batch_size: larger than {config.get('rollout.max_batch_size')}",
            ),
            (True, "cluster.component_placement: more devices or machines for rollout"),
            (config.get("rollout.compile") is None, "rollout.compile: both, on a GPU"),
        ],
        "update": [
            (True, _more(config, "actor.micro_batch_size", "the largest that fits")),
            (synchronous, "runner.mode: async"),
            (
                config.get("actor.model.gradient_checkpointing") is True,
                "actor.model.gradient_checkpointing: false, where there is room",
            ),
        ],
        "transfer": [
            (True, "cluster.component_placement: rollout on the devices of actor"),
            (synchronous, "runner.mode: async"),
        ],
        "turns": [
            (one_stage, "rollout.pipeline_stage_num: 2"),
            (synchronous, "runner.mode: async"),
            (True, _more(config, "env.train.total_num_envs")),
        ],
    }
    return [setting for fits, setting in tries[part] if fits]


def _more(config: Mapping[str, object], key: str, wanted: str = "more") -> str:
    now = config.get(key)
    return f"{key}: {wanted}" + (f" (now {now})" if now is not None else "")


def _mean(records: Sequence[Mapping[str, Any]], name: str, missing: float = 0.0) -> float:
    """Mean of a metric over the records; where one lacks it, `missing` counts."""
    values = [record.get(name) for record in records]
    return sum(missing if value is None else float(value) for value in values) / len(values)
