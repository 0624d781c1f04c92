"""The learning-rate schedule of a run that is continued with more or fewer steps than before."""

from __future__ import annotations

from collections.abc import Callable

from rlinf.config.derive import Plan
from rlinf.config.imitation import ImitationConfig
from rlinf.config.schedule import optim_of, rate_factor
from rlinf.config.schema import Config
from rlinf.config.tree import get, has
from rlinf.runners import checkpoint
from rlinf.runners.resuming import configuration_to_continue
from rlinf.runners.run import Run

Rate = Callable[[int], float]  # the length of a schedule -> its rate in the next optimizer step
ACTOR, IMITATION = "actor.optim.total_training_steps", "imitation.schedule_steps"


def settle_training(config: Config, plan: Plan, run: Run) -> Config:
    """The configuration of a training with the length of its schedule, as checkpoints keep it."""
    optim, per_iteration = config.actor.optim, plan.batch.updates

    def rate(total: int, step: int) -> float:
        return optim.lr * rate_factor(optim, total, per_iteration * step)

    planned = plan.iterations * per_iteration
    total = _settle(config, run, ACTOR, optim.total_training_steps, planned, rate)
    optim = optim.model_copy(update={"total_training_steps": total})
    return config.model_copy(update={"actor": config.actor.model_copy(update={"optim": optim})})


def settle_imitation(config: Config, settings: ImitationConfig, run: Run) -> Config:
    """The same of `rlinf sft`."""
    optim = optim_of(settings)

    def rate(total: int, step: int) -> float:
        return optim.lr * rate_factor(optim, total, step)

    total = _settle(config, run, IMITATION, settings.schedule_steps, settings.steps, rate)
    settings = settings.model_copy(update={"schedule_steps": total})
    return config.model_copy(update={"imitation": settings})


def length(asked: int, first: int, planned: int) -> int:
    """Optimizer steps of a schedule.

    Args:
        asked: of the configuration; 0 for those of the run that began, -1 for those of this run.
        first: of the checkpoint that is continued; 0 without one.
        planned: of this run.
    """
    if asked > 0:
        return asked
    return first if first and asked == 0 else planned


def _settle(
    config: Config,
    run: Run,
    key: str,
    asked: int,
    planned: int,
    rate: Callable[[int, int], float],
) -> int:
    found = configuration_to_continue(config)
    if found is None:
        return length(asked, 0, planned)
    folder, old = found
    first = get(old, key) if has(old, key) else 0
    total = length(asked, first, planned)
    step = checkpoint.number_of(folder)
    text = described(first, total, planned, lambda n: rate(n, step), key)
    if text is not None and rate(total, step) == 0:
        run.console.warn(text)
    elif text is not None:
        run.console.note(text)
    return total


def described(first: int, total: int, planned: int, rate: Rate, key: str) -> str | None:
    """What a user has to know of the schedule of a continued run; None if it is the same either
    way.

    Args:
        first, total: optimizer steps of the schedule before and now.
        planned: optimizer steps of this run.
        rate: see `Rate`.
        key: of the schedule's length in the configuration.
    """
    if first == 0 or first == total == planned:
        return None
    before = f"{rate(first):.2g}"
    if total != first:
        return (
            f"learning rate: its schedule has {total} steps instead of {first}, so it is now "
            f"{rate(total):.2g} instead of {before}"
        )
    if rate(first) == rate(planned):
        return None
    return (
        f"learning rate: the schedule of {first} steps that the run began with goes on, so it is "
        f"now {before}; {key}=-1 spreads it over the {planned} steps of this run, where it is "
        f"{rate(planned):.2g} now"
    )
