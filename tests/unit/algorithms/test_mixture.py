from __future__ import annotations

import re

import numpy as np
import pytest

from rlinf.algorithms.mixture import Curriculum, TaskCounts, move_shares, task_shares

GROUPS = ("near", "near", "near", "far")  # tasks 0, 1, 2 and 3


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ({"near": 3.0, "far": 1.0}, [0.25, 0.25, 0.25, 0.25]),
        ({"near": 1.0, "far": 1.0}, [1 / 6, 1 / 6, 1 / 6, 0.5]),
        ({"2": 1.0}, [0, 0, 1, 0]),
        # The weight of the group is shared by the two tasks that have none of their own.
        ({"near": 2.0, "0": 6.0}, [0.75, 0.125, 0.125, 0]),
        ({"near": 0.0, "far": 5.0}, [0, 0, 0, 1]),
    ],
)
def test_weights_of_tasks_and_of_groups_become_shares(
    weights: dict[str, float], shares: list[float]
) -> None:
    assert task_shares(weights, GROUPS).tolist() == pytest.approx(shares)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"4": 1.0}, "there is no task 4: tasks have the numbers 0 to 3"),
        ({"nearby": 1.0}, "nearby is no group of tasks: there are near, far"),
        ({"far": 1.0, "3": 1.0}, "each task of far has a weight of its own already"),
        ({"far": 0.0}, "all weights are 0"),
        ({}, "all weights are 0"),
    ],
)
def test_weights_that_name_nothing_are_refused(weights: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        task_shares(weights, GROUPS)


def test_an_episode_counts_half_after_the_half_life() -> None:
    counts = TaskCounts.none(2).after([(0, True), (0, False), (1, False)], half_life=2)
    for _ in range(2):
        counts = counts.after([], half_life=2)
    assert counts.episodes == pytest.approx([1.0, 0.5])
    assert counts.successes == pytest.approx([0.5, 0.0])


def test_weight_moves_to_tasks_that_are_solved_sometimes() -> None:
    curriculum = Curriculum(low=0.1, high=0.9, focus=4.0, half_life=5.0)
    # Solved by 1 of 2, never, always, and too seldom seen to say.
    counts = TaskCounts(np.array([10.0, 10, 10, 7]), np.array([5.0, 0, 10, 7]))
    moved = move_shares(np.full(4, 0.25), counts, curriculum)
    assert moved == pytest.approx([0.4, 0.1, 0.1, 0.4])
    # The ends belong to it, and a task without a share gets none.
    ends = TaskCounts(np.full(4, 100.0), np.array([10.0, 90, 9, 50]))
    moved = move_shares(np.array([0.25, 0.25, 0.5, 0]), ends, curriculum)
    assert moved == pytest.approx([0.4, 0.4, 0.2, 0])


def test_a_focus_of_1_leaves_the_shares_as_they_are() -> None:
    shares = np.array([0.5, 0.3, 0.2])
    counts = TaskCounts(np.full(3, 20.0), np.array([0.0, 10, 20]))
    assert move_shares(shares, counts, Curriculum(0.1, 0.9, 1.0, 5.0)) == pytest.approx(shares)
