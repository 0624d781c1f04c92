"""Which start each episode has, as pure functions of where the episode stands in the run.

Nothing is drawn from a generator that has to be saved: a resumed or re-split run asks for the same
starts. Training seeds are even and evaluation seeds odd, so where a seed is the start no policy is
evaluated on one that it was trained on. Numbered starts are drawn from all there are, unless those
of the evaluation are held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from rlinf.data.random import derive, distinct, seed31
from rlinf.data.types import Start
from rlinf.errors import UserError

T = TypeVar("T")


def training_starts(
    seed: int,
    step: int,
    epoch: ArrayLike,
    indices: np.ndarray,
    episodes: np.ndarray,
    num_tasks: int,
    num_trials: int = 0,
    held_out: np.ndarray | None = None,
    shares: np.ndarray | None = None,
) -> list[Start]:
    """Starts of [K] training episodes.

    Args:
        seed: of the run's start states (`env.train.seed`).
        step: iteration of the runner.
        epoch: rollout epoch within the iteration, of all or of each: [K] int.
        indices: [K] int, global index of the env; of its group (`group_indices`) where the envs of
            a group share their starts.
        episodes: [K] int, episodes that the env began before in this rollout epoch.
        num_tasks: tasks of the simulator.
        num_trials: starts that each task has; 0 where any seed is a start of its own.
        held_out: [tasks, n] int64, n of these starts that are not drawn; see `evaluation_trials`.
        shares: [tasks] float64, how likely each task is, with sum 1; None: all alike.
    """
    key = derive(seed, step, epoch, indices, episodes)
    if shares is None:
        tasks = (derive(key, 0) % np.uint64(num_tasks)).astype(np.int64)
    else:
        tasks = _drawn(derive(key, 0), shares)
    trials: np.ndarray = np.full(key.shape, -1)
    if num_trials:
        left = num_trials - (0 if held_out is None else held_out.shape[1])
        trials = (derive(key, 1) % np.uint64(left)).astype(np.int64)
    if num_trials and held_out is not None:
        trials = _skip(trials, held_out[tasks])
    seeds = seed31(key, 2) & ~1
    return [Start(int(t), int(n), int(s)) for t, n, s in zip(tasks, trials, seeds, strict=True)]


def _drawn(keys: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """A task for each key, by inversion of the distribution: [K] int64."""
    uniform = (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53  # in [0, 1)
    able = np.flatnonzero(shares)  # rounding must not draw a task without a share
    bounds = np.cumsum(shares[able])
    places = np.searchsorted(bounds, uniform * bounds[-1], side="right")
    return able[np.minimum(places, len(able) - 1)]


def _skip(numbers: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """Number k of those that are not left out, for each k: [K] int64.

    Args:
        left_out: [K, n], n different numbers for each.
    """
    # In ascending order h_0, h_1, ... there are h_i - i numbers that count below h_i.
    below = np.sort(left_out, axis=1) - np.arange(left_out.shape[1])
    skipped: np.ndarray = (below <= numbers[:, None]).sum(axis=1)
    return numbers + skipped


def group_indices(envs: np.ndarray, group_size: int) -> np.ndarray:
    """Group of each env, as consecutive envs form a group: [K] int64."""
    return np.asarray(envs, np.int64) // group_size


def evaluation_starts(
    seed: int, num_tasks: int, num_trials: int, available: int = 0
) -> list[Start]:
    """Every (task, trial) exactly once, task by task: num_tasks x num_trials starts.

    Args:
        seed: of the evaluation (`env.eval.seed`).
        num_tasks: tasks of the simulator.
        num_trials: episodes per task.
        available: starts that each task has; 0 where any seed is a start of its own. If there are
            more than `num_trials`, a random part of them that depends on `seed` alone.

    Raises:
        UserError: there are fewer than `num_trials`.
    """
    if available and num_trials > available:
        raise UserError(
            f"env.eval.num_trials = {num_trials}: each task has {available} different starts",
            f"set env.eval.num_trials={available}; algorithm.eval_rollout_epoch repeats them",
        )
    tasks, numbers = np.divmod(np.arange(num_tasks * num_trials), num_trials)
    trials = evaluation_trials(seed, num_tasks, num_trials, available).reshape(-1)
    seeds = seed31(seed, tasks, numbers) | 1
    return [Start(int(t), int(n), int(s)) for t, n, s in zip(tasks, trials, seeds, strict=True)]


def evaluation_trials(seed: int, num_tasks: int, num_trials: int, available: int) -> np.ndarray:
    """The trials of each task that an evaluation has: [tasks, num_trials] int64.

    Arguments as for `evaluation_starts`.
    """
    if num_trials < available:
        parts = [distinct(num_trials, available, seed, task) for task in range(num_tasks)]
        return np.stack(parts)
    return np.tile(np.arange(num_trials), (num_tasks, 1))


def share(items: Sequence[T], rank: int, world_size: int) -> list[T]:
    """The part of `items` that one of `world_size` workers has; sizes differ by at most one."""
    return list(items[rank::world_size])
