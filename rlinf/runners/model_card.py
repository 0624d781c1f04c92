"""The page of a policy on a hub: what it scored, by which protocol, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from rlinf import __version__
from rlinf.config.schema import Config
from rlinf.logging.display import percent

MOST_TASKS = 200  # rows of the table


@dataclass(frozen=True, slots=True)
class Licence:
    """Under which licence the weights are, as the owner of the base gives it."""

    name: str  # as hubs write it: apache-2.0, mit, other
    title: str | None = None  # with `other`: what it is called
    link: str | None = None
    source: str = ""  # a sentence that says who said so


def model_card(
    config: Config,
    repository: str,
    step: int,
    evaluation: Mapping[str, Any] | None,
    licence: Licence,
    base: str | None,
    adapter: bool,
) -> str:
    """The card as Markdown, with the fields that hubs read in front.

    Args:
        repository: OWNER/NAME it is for.
        step: iterations of training.
        evaluation: `eval/step_<step>.json`; None if this checkpoint was not evaluated.
        base: OWNER/NAME of the model that was trained; None where it has none on a hub.
        adapter: the weights are an adapter of the base.
    """
    name = repository.rpartition("/")[2]
    parts = [
        f"---\n{yaml.safe_dump(_fields(config, name, evaluation, licence, base, adapter))}---",
        f"# {name}",
        _about(config, step, base, adapter),
        "## Results",
        *_results(config, evaluation),
        "## How to load it",
        *_loading(repository, base, adapter),
        "## Licence",
        f"{licence.title or licence.name}. {licence.source}",
    ]
    return "\n\n".join(parts) + "\n"


def _fields(
    config: Config,
    name: str,
    evaluation: Mapping[str, Any] | None,
    licence: Licence,
    base: str | None,
    adapter: bool,
) -> dict[str, Any]:
    fields: dict[str, Any] = {"license": licence.name}
    if licence.title:
        fields["license_name"] = licence.title
    if licence.link:
        fields["license_link"] = licence.link
    if base:
        fields["base_model"] = base
    fields["library_name"] = "peft" if adapter else "rlinf"
    fields["pipeline_tag"] = "robotics"
    fields["tags"] = ["rlinf", "reinforcement-learning", "robotics", config.actor.model.model_type]
    if evaluation is not None:
        overall = evaluation["overall"]
        task = _task(config)
        metric = {
            "type": "success_rate",
            "name": f"success rate, n {overall['episodes']}, "
            f"95% interval {percent(overall['low'], 1)} to {percent(overall['high'], 1)}",
            "value": round(100 * overall["success"], 2),
            "verified": False,
        }
        result = {
            "task": {"type": "robotics"},
            "dataset": {"type": config.env.eval.simulator_type, "name": task},
            "metrics": [metric],
        }
        fields["model-index"] = [{"name": name, "results": [result]}]
    return fields


def _about(config: Config, step: int, base: str | None, adapter: bool) -> str:
    model = config.actor.model
    kind = "A LoRA adapter of" if adapter else "A policy trained from"
    origin = f"{kind} [{base}](https://huggingface.co/{base})" if base else "A policy"
    return (
        f"{origin} ({model.model_type}, {model.num_parameters() / 1e6:.1f} M parameters), after "
        f"{step} iterations of reinforcement learning ({config.algorithm.adv_type}, "
        f"{config.algorithm.loss_type}) in {config.env.train.simulator_type} with RLinf "
        f"{__version__}. `config.yaml` is the whole configuration, without places of the machine."
    )


def _results(config: Config, evaluation: Mapping[str, Any] | None) -> list[str]:
    if evaluation is None:
        return ["This checkpoint was not evaluated."]
    overall, tasks = evaluation["overall"], evaluation["tasks"]
    rows = [(_task(config), overall)]
    rows += [(name, outcome) for name, outcome in evaluation["groups"].items()]
    if len(tasks) > 1:
        rows += [(entry["instruction"], entry) for entry in tasks[:MOST_TASKS]]
    table = ["| task | success | 95% interval | episodes |", "|---|---|---|---|", *map(_row, rows)]
    left_out = len(tasks) - MOST_TASKS
    more = [f"{left_out} more tasks are not shown."] if left_out > 0 else []
    return ["\n".join(table), *more, _protocol(config)]


def _row(entry: tuple[str, Mapping[str, Any]]) -> str:
    name, outcome = entry
    text = " ".join(name.split()).replace("|", "\\|")
    ends = f"{percent(outcome['low'], 1)} to {percent(outcome['high'], 1)}"
    return f"| {text} | {percent(outcome['success'], 1)} | {ends} | {outcome['episodes']} |"


def _protocol(config: Config) -> str:
    env, sampling = config.env.eval, config.algorithm.sampling_params
    drawn = f"sampled at temperature {sampling.temperature_eval}"
    return (
        f"Protocol: {env.simulator_type}, {_task(config)}; every (task, trial) once, "
        f"{env.num_trials or 'all'} trials of a task, repeated "
        f"{config.algorithm.eval_rollout_epoch} times with seed {env.seed}; at most "
        f"{env.max_episode_steps} steps; actions {drawn if sampling.do_sample else 'greedy'}. An "
        "episode counts as a success if the task is solved at any step. Intervals are Wilson score "
        "intervals over episodes; they say nothing of other training seeds."
    )


def _loading(repository: str, base: str | None, adapter: bool) -> Sequence[str]:
    folder = repository.rpartition("/")[2]
    fetch = f"rlinf download {repository}"
    if not adapter:
        run = f"rlinf eval {folder}/config.yaml runner.ckpt_path={folder}"
        return [f"```bash\n{fetch}\n{run}\n```"]
    run = (
        f"rlinf eval {folder}/config.yaml actor.model.model_path=BASE "
        f"actor.model.lora_path={folder}"
    )
    lines = [f"```bash\n{fetch}\n{run}\n```"]
    of = base or "the model it was trained from"
    return [*lines, f"`BASE` is the folder of {of}. The adapter is in PEFT's form."]


def _task(config: Config) -> str:
    return str(config.env.eval.init_params.task_id() or config.env.eval.simulator_type)
