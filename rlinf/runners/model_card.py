"""The page of a policy on a hub: what it scored, by which protocol, and how it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from rlinf import __version__
from rlinf.config.schema import Config
from rlinf.config.show import shares_starts
from rlinf.logging.display import percent
from rlinf.wording import plural

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
    best_of: int = 0,
) -> str:
    """The card as Markdown, with the fields that hubs read in front.

    Args:
        repository: OWNER/NAME it is for.
        step: iterations of training.
        evaluation: `eval/step_<step>.json`; None if this checkpoint was not evaluated.
        base: OWNER/NAME of the model that was trained; None where it has none on a hub.
        adapter: the weights are an adapter of the base.
        best_of: evaluations of the run by which this checkpoint was chosen; 0: it was not.
    """
    name = repository.rpartition("/")[2]
    parts = [
        f"---\n{yaml.safe_dump(_fields(config, name, evaluation, licence, base, adapter))}---",
        f"# {name}",
        _about(config, step, base, adapter),
        "## Results",
        *_results(config, evaluation, best_of),
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
        f"{plural(step, 'iteration')} of reinforcement learning ({config.algorithm.adv_type}, "
        f"{config.algorithm.loss_type}) in {config.env.train.simulator_type} with RLinf "
        f"{__version__}. `config.yaml` is the whole configuration, without places of the machine."
    )


def _results(config: Config, evaluation: Mapping[str, Any] | None, best_of: int) -> list[str]:
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
    if best_of > 1:
        more.append(
            f"This checkpoint was chosen as the best of {best_of} evaluations of its run, so these "
            "rates are too high on average; an evaluation with another `env.eval.seed` has no such "
            "choice."
        )
    return ["\n".join(table), *more, _protocol(config)]


def _row(entry: tuple[str, Mapping[str, Any]]) -> str:
    name, outcome = entry
    text = " ".join(name.split()).replace("|", "\\|")
    ends = f"{percent(outcome['low'], 1)} to {percent(outcome['high'], 1)}"
    return f"| {text} | {percent(outcome['success'], 1)} | {ends} | {outcome['episodes']} |"


def _protocol(config: Config) -> str:
    env, sampling = config.env.eval, config.algorithm.sampling_params
    drawn = f"sampled at temperature {sampling.temperature_eval}"
    starts = plural(env.num_trials, "start") if env.num_trials else "all recorded starts"
    times = config.algorithm.eval_rollout_epoch
    where = ", ".join(dict.fromkeys((env.simulator_type, _task(config))))
    shared = " Training drew from these starts too." if shares_starts(config) else ""
    return (
        f"Protocol: {where}; {starts} of each task, {'once' if times == 1 else f'{times} times'} "
        f"each, seed {env.seed}; at most {env.max_episode_steps} steps; actions "
        f"{drawn if sampling.do_sample else 'greedy'}.{shared} An "
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
