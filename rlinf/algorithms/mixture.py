"""How often each task is drawn: shares of a mixture, and a curriculum that moves them.

K tasks. Everything is a pure function of plain numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

KNOWN_FROM = 8.0
"""Episodes, weighed by their age, from which on the success of a task counts as known."""


class Curriculum(NamedTuple):
    """Which tasks are drawn more often than their shares say."""

    low: float  # success rates from here ...
    high: float  # ... to here: the policy solves the task sometimes
    focus: float  # factor on the share of such a task, before shares are made to sum to 1
    half_life: float  # iterations after which an episode counts half


def task_shares(weights: Mapping[str, float], groups: Sequence[str]) -> np.ndarray:
    """The share of each task, from weights of tasks and of groups of tasks: [K] float64, sum 1.

    A task has the weight under its index, as text. The weight of a group is shared equally by its
    tasks that have none of their own. What is not named is not drawn.

    Args:
        groups: group of each task.

    Raises:
        ValueError: a name is neither an index nor a group, a group has no task left, or all
            weights are 0.
    """
    count = len(groups)
    shares: np.ndarray = np.zeros(count)
    own = {int(name) for name in weights if name.isdecimal()}
    for name, weight in weights.items():
        if name.isdecimal():
            members = [int(name)]
            if int(name) >= count:
                raise ValueError(
                    f"there is no task {name}: tasks have the numbers 0 to {count - 1}"
                )
        else:
            if name not in groups:
                known = ", ".join(dict.fromkeys(groups))
                raise ValueError(f"{name} is no group of tasks: there are {known}")
            members = [k for k, group in enumerate(groups) if group == name and k not in own]
            if not members:
                raise ValueError(f"each task of {name} has a weight of its own already")
        shares[members] += weight / len(members)
    if not shares.any():
        raise ValueError("all weights are 0")
    return shares / shares.sum()


class TaskCounts(NamedTuple):
    """Episodes and successes of each task, older ones weighing less: two of [K] float64."""

    episodes: np.ndarray
    successes: np.ndarray

    @staticmethod
    def none(count: int) -> TaskCounts:
        """Those of `count` tasks before the first iteration."""
        return TaskCounts(np.zeros(count), np.zeros(count))

    def after(self, ended: Iterable[tuple[int, bool]], half_life: float) -> TaskCounts:
        """Those one iteration later.

        Args:
            ended: task and success of each episode that ended in the iteration.
            half_life: iterations after which an episode counts half.
        """
        left = 0.5 ** (1.0 / half_life)
        later = TaskCounts(self.episodes * left, self.successes * left)
        for task, success in ended:
            later.episodes[task] += 1.0
            later.successes[task] += float(success)
        return later


def move_shares(shares: np.ndarray, counts: TaskCounts, curriculum: Curriculum) -> np.ndarray:
    """Shares with more weight on tasks that are solved sometimes: [K] float64, sum 1.

    So that every task goes on being measured, none of those that have a share loses it all. A task
    of which too few episodes are known counts as solved sometimes.

    Args:
        shares: [K], of the mixture.
    """
    unknown = counts.episodes < KNOWN_FROM
    rates = counts.successes / np.where(unknown, 1.0, counts.episodes)
    sometimes = unknown | ((rates >= curriculum.low) & (rates <= curriculum.high))
    moved = shares * np.where(sometimes, curriculum.focus, 1.0)
    return moved / moved.sum()
