"""The comparison of two policies that were evaluated from the same starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlinf.errors import UserError
from rlinf.metrics.evaluation import EvaluationFile, different, labels_of
from rlinf.metrics.paired import mcnemar, paired_bootstrap


class _Start(NamedTuple):
    task: int
    trial: int
    seed: int


@dataclass(frozen=True, slots=True)
class Compared:
    """Two policies on the same starts; a start with several episodes counts by its mean."""

    label: str  # a task, a group of tasks, or all
    starts: int
    first: float  # success, in [0, 1]
    second: float
    low: float  # 95 % paired bootstrap interval of second - first
    high: float
    first_better: int  # starts that the first policy solved more often than the second
    second_better: int
    p_value: float  # McNemar's exact test of these two numbers

    @property
    def change(self) -> float:
        """Second minus first."""
        return self.second - self.first


def compared(
    first: EvaluationFile, second: EvaluationFile, names: Sequence[str] = ("A", "B")
) -> list[Compared]:
    """Per task, per group of tasks, and over all starts, which is the last.

    With one episode of each start the p-value is that of McNemar's exact test. With several the
    same formula is a sign test of starts, whose episodes are no independent trials.

    Args:
        names: of the two, for messages.

    Raises:
        UserError: they were not evaluated from the same starts, or each as often.
    """
    _same_starts(first, second, names)
    shares = [_by_start(file) for file in (first, second)]
    starts = sorted(shares[0])
    values = np.array([[share[start] for start in starts] for share in shares])
    tasks = np.array([start.task for start in starts])
    labels = labels_of(first.tasks)
    rows = [_compare(labels[t.task], values, tasks, tasks == t.task) for t in first.tasks]
    groups = {task.task: task.group for task in first.tasks}
    for name in first.groups:
        chosen = np.array([groups[task] == name for task in tasks])
        rows.append(_compare(name, values, tasks, chosen))
    return [*rows, _compare("all starts", values, tasks, np.ones(len(starts), bool))]


def _compare(label: str, values: np.ndarray, tasks: np.ndarray, chosen: np.ndarray) -> Compared:
    """Of the chosen starts.

    Args:
        values: [2, N] float64, share of solved episodes of each policy and start.
        tasks: [N] int64.
        chosen: [N] bool.
    """
    first, second = values[:, chosen]
    low, high = paired_bootstrap(second - first, tasks[chosen])
    worse, better = int((first > second).sum()), int((second > first).sum())
    return Compared(
        label=label,
        starts=int(chosen.sum()),
        first=float(first.mean()),
        second=float(second.mean()),
        low=low,
        high=high,
        first_better=worse,
        second_better=better,
        p_value=mcnemar(worse, better),
    )


def _by_start(file: EvaluationFile) -> dict[_Start, float]:
    solved = defaultdict[_Start, list[bool]](list)
    for one in file.episodes:
        solved[_Start(one.task, one.trial, one.seed)].append(one.success_once)
    return {start: sum(outcomes) / len(outcomes) for start, outcomes in solved.items()}


def _same_starts(first: EvaluationFile, second: EvaluationFile, names: Sequence[str]) -> None:
    what = different(first, second)
    ours, theirs = ({one.key for one in file.episodes} for file in (first, second))
    if what is None and ours != theirs:
        alone = [len(ours - theirs), len(theirs - ours)]
        example = min(ours ^ theirs)
        what = (
            f"{alone[0]} trials are in {names[0]} alone and {alone[1]} in {names[1]} alone, such "
            f"as task {example.task}, start {example.trial}, seed {example.seed}, repeat "
            f"{example.repeat}"
        )
    if what is None and not ours:
        what = "there is no trial"
    if what is not None:
        raise UserError(
            f"{names[0]} and {names[1]} were not evaluated from equal starts: {what}",
            "evaluate both policies with the same env.eval and algorithm.eval_rollout_epoch",
        )
