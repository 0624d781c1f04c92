"""The plan of a run as a person reads it: what runs where, how much data, how much memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table

from rlinf.algorithms.estimators import ESTIMATORS
from rlinf.config import memory, show_placement
from rlinf.config.derive import EnvPlan, Plan
from rlinf.config.env_checks import mixture_shares
from rlinf.config.load import Loaded
from rlinf.config.schema import Config, EnvConfig
from rlinf.data.conventions import explain
from rlinf.wording import plural


def render(loaded: Loaded) -> RenderableType:
    """Placement, batch arithmetic, memory, notes and warnings."""
    config, plan = loaded.config, loaded.plan
    return Group(
        f"[bold]{loaded.name}[/bold]: {_summary(config)}",
        f"logs: {config.runner.logger.run_dir}",
        "",
        show_placement.render(config, plan),
        "",
        _evaluation(config, plan) if config.runner.only_eval else _arithmetic(config, plan),
        "",
        *(_actions(config, env) for env in _environments(config)),
        "",
        *_gpu_memory(config, plan),
        _host_memory(plan),
        *messages(loaded),
    )


def messages(loaded: Loaded) -> list[str]:
    """Notes and warnings, a line each."""
    notes = [f"note: {note}" for note in loaded.notes]
    return notes + [f"[yellow]warning:[/yellow] {warning}" for warning in loaded.warnings]


def facts(title: str, rows: Sequence[tuple[str, str, str]]) -> Table:
    """Rows of a name, a number and a remark."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for style in ("bold", "green", ""):
        table.add_column(style=style)
    table.show_header = False
    for row in rows:
        table.add_row(*row)
    return table


def gigabytes(size: int) -> str:
    """`1.30 GB`, or `0.4 MB` below 10 MB."""
    return f"{size / 1e9:.2f} GB" if size >= 10_000_000 else f"{size / 1e6:.1f} MB"


def _summary(config: Config) -> str:
    model, only_eval = config.actor.model, config.runner.only_eval
    env = config.env.eval if only_eval else config.env.train
    task = env.init_params.task_id() or env.simulator_type
    does = "is evaluated on" if only_eval else "learns"
    by = "" if only_eval else f" by {ESTIMATORS[config.algorithm.adv_type].title}"
    return f"{model.model_type} ({model.num_parameters() / 1e6:.1f} M parameters) {does} {task}{by}"


def _arithmetic(config: Config, plan: Plan) -> Table:
    train, actor, batch = config.env.train, config.actor, plan.batch
    chunk, stages = actor.model.num_action_chunks, config.rollout.pipeline_stage_num
    epochs, updates = config.algorithm.update_epoch, batch.updates * plan.iterations
    rows = [
        (
            "sub-envs",
            f"{plan.train.total}",
            f"{plan.train.per_worker} per env worker"
            + (f", {plan.train.per_stage} in each of {stages} stages" if stages > 1 else "")
            + (f", {batch.groups} groups of {train.group_size}" if train.group_size > 1 else ""),
        ),
        ("simulators", *_simulators(plan, plan.train)),
        *_mixture(config),
        (
            "chunk steps T",
            f"{batch.chunk_steps}",
            f"{plural(train.max_steps_per_rollout_epoch, 'simulator step')} / "
            f"{plural(chunk, 'action')} per chunk",
        ),
        (
            "samples N",
            f"{batch.samples}",
            f"{plural(batch.chunk_steps, 'chunk step')} x {plural(plan.train.total, 'sub-env')} x "
            f"{plural(config.algorithm.rollout_epoch, 'rollout epoch')}",
        ),
        (
            "updates",
            f"{batch.updates}",
            f"{plural(epochs, 'update epoch')} x {batch.samples} / global batch "
            f"{actor.global_batch_size}; {plural(batch.accumulation, 'micro-batch')} of "
            f"{actor.micro_batch_size} per rank",
        ),
        ("iterations", f"{plan.iterations}", f"{plural(updates, 'update')} in all"),
        (
            "evaluation",
            f"{config.env.eval.num_trials}",
            f"episodes per task, in {plural(plan.eval.total, 'sub-env')}, "
            f"{_interval(config.runner.val_check_interval)}",
        ),
        ("", "", f"{_evaluated_actions(config)}; {_evaluated_starts(config)}"),
    ]
    return facts("one iteration", rows)


_MOST_SHARES = 12  # a line that lists more is not read


def _mixture(config: Config) -> list[tuple[str, str, str]]:
    """How often which task is drawn; of many tasks, which group of them."""
    mixture = config.env.train.mixture
    if mixture is None:
        return []
    shares, groups = mixture_shares(config), config.env.train.init_params.task_groups()
    names = [str(task) for task in range(len(shares))]
    if np.count_nonzero(shares) > _MOST_SHARES:
        names = list(groups)
    sums: dict[str, float] = {}
    for name, share in zip(names, shares.tolist(), strict=True):
        sums[name] = sums.get(name, 0.0) + share
    listed = ", ".join(f"{name}: {share:.1%}" for name, share in sums.items() if share)
    moved = "; the curriculum moves this" if mixture.curriculum else ""
    return [("tasks drawn", f"{np.count_nonzero(shares)} of {len(shares)}", f"{listed}{moved}")]


def _evaluation(config: Config, plan: Plan) -> Table:
    repeats = config.algorithm.eval_rollout_epoch
    rows = [
        ("sub-envs", f"{plan.eval.total}", f"{plan.eval.per_worker} per env worker"),
        ("simulators", *_simulators(plan, plan.eval)),
        (
            "episodes",
            f"{config.env.eval.num_trials}",
            "per task" + (f", each {repeats} times" if repeats > 1 else ""),
        ),
        ("actions", "-", _evaluated_actions(config)),
    ]
    return facts("evaluation", rows)


def _evaluated_actions(config: Config) -> str:
    sampling = config.algorithm.sampling_params
    if not sampling.do_sample:
        return "takes the most likely actions"
    return f"draws actions at temperature {sampling.temperature_eval:g}"


def shares_starts(config: Config) -> bool:
    """Whether training draws from the starts that are evaluated."""
    train, evaluation = config.env.train.init_params, config.env.eval.init_params
    same = (train.task_id(), train.num_starts()) == (evaluation.task_id(), evaluation.num_starts())
    return same and train.num_starts() > 0 and not config.env.train.hold_out_evaluation


def _evaluated_starts(config: Config) -> str:
    return f"starts that training {'draws from too' if shares_starts(config) else 'never has'}"


def _simulators(plan: Plan, part: EnvPlan) -> tuple[str, str]:
    processes = part.simulator_processes
    if processes == 0:
        return "-", "all sub-envs of a stage in one simulator inside the env worker"
    return f"{processes * len(plan.placement['env'])}", f"sub-processes, {processes} per env worker"


def _environments(config: Config) -> list[EnvConfig]:
    """Training and evaluation, or one of them where they take the same actions."""
    train, evaluation = config.env.train, config.env.eval
    if config.runner.only_eval:
        return [evaluation]
    same = train.init_params.takes() == evaluation.init_params.takes()
    return [train] if same else [train, evaluation]


def _actions(config: Config, env: EnvConfig) -> Table:
    """What each number of an action means to the model and to the simulator."""
    emits, takes = config.actor.model.emits(), env.init_params.takes()
    model = config.actor.model.model_type + (f" ({emits.title})" if emits else "")
    simulator = takes.title if takes else env.init_params.task_id() or env.simulator_type
    table = Table(title="actions", title_justify="left", box=None, pad_edge=False)
    for header in ("", f"from {model}", f"to {simulator}", "conversion"):
        table.add_column(header)
    for row in explain(emits, takes):
        table.add_row(*row)
    return table


def _interval(interval: int) -> str:
    return "never during training" if interval == -1 else f"every {plural(interval, 'iteration')}"


def _gpu_memory(config: Config, plan: Plan) -> Iterator[RenderableType]:
    """The fullest GPU, a column for each phase; nothing where no process computes on one."""
    full = memory.fullest(memory.devices(config, plan))
    if full is None:
        return
    phases = memory.phases(config)
    table = Table(
        title=f"GB in the fullest GPU (node {full.node} GPU {full.index}), computed",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("")
    for phase in phases:
        table.add_column(phase, justify="right")
    for name in dict.fromkeys((held.owner, held.what) for held in full.held):
        parts = [held for held in full.held if (held.owner, held.what) == name]
        sizes = [sum(part.size for part in parts if phase in part.phases) for phase in phases]
        table.add_row(": ".join(name), *(f"{size / 1e9:.1f}" if size else "" for size in sizes))
    table.add_row("sum", *(f"{full.at(phase) / 1e9:.1f}" for phase in phases))
    yield table
    yield ""


def _host_memory(plan: Plan) -> Table:
    table = Table(
        title="memory of the hosts, computed (without activations)",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for header in ("", "each", "of which"):
        table.add_column(header)
    for held in plan.memory:
        owner = f"{held.owner} x {held.processes}" if held.processes > 1 else held.owner
        parts = ", ".join(f"{what} {gigabytes(size)}" for what, size in held.parts if size)
        table.add_row(owner, gigabytes(held.per_process), parts)
    table.add_row("sum", gigabytes(plan.host_bytes), "")
    return table
