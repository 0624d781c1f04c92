"""Which start an episode has."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.envs.starts import (
    _skip,
    evaluation_starts,
    evaluation_trials,
    group_indices,
    share,
    training_starts,
)
from rlinf.errors import UserError


def starts_of(indices: list[int], step: int = 0, episode: int = 0, **options: object) -> list:
    episodes = np.full(len(indices), episode)
    return training_starts(5, step, 0, np.array(indices), episodes, num_tasks=3, **options)


def test_members_of_a_group_have_the_same_start_and_groups_differ() -> None:
    starts = starts_of(group_indices(np.arange(6), group_size=3).tolist())
    assert starts[0] == starts[1] == starts[2]
    assert starts[3] == starts[4] == starts[5]
    assert starts[0] != starts[3]


def test_a_start_depends_on_its_place_alone_and_not_on_who_else_asks() -> None:
    assert starts_of([7]) == starts_of([1, 7, 4])[1:2]


def test_a_start_differs_between_steps_and_episodes() -> None:
    seeds = {starts_of([0], step, episode)[0].seed for step in range(3) for episode in range(3)}
    assert len(seeds) == 9


def test_without_trials_only_the_seed_counts_and_with_trials_each_is_drawn() -> None:
    assert {start.trial for start in starts_of(list(range(50)))} == {-1}
    starts = starts_of(list(range(300)), num_trials=4)
    assert {(start.task, start.trial) for start in starts} == {
        (task, trial) for task in range(3) for trial in range(4)
    }


def test_evaluation_has_every_task_and_trial_once() -> None:
    starts = evaluation_starts(0, num_tasks=2, num_trials=3)
    assert [(start.task, start.trial) for start in starts] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2),
    ]  # fmt: skip
    assert len({start.seed for start in starts}) == 6


def test_an_evaluation_takes_a_random_part_of_the_starts_there_are_each_once() -> None:
    def trials(count: int, seed: int = 0) -> list[int]:
        return [start.trial for start in evaluation_starts(seed, 1, count, available=802_816)]

    assert len(set(trials(256))) == 256
    assert max(trials(256)) > 700_000 and min(trials(256)) < 100_000
    assert trials(256) != trials(256, seed=1)
    assert trials(20) == trials(256)[:20]
    every = evaluation_starts(0, num_tasks=2, num_trials=5, available=5)
    assert [start.trial for start in every] == [0, 1, 2, 3, 4] * 2


def test_an_evaluation_of_more_starts_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="each task has 5 different starts"):
        evaluation_starts(0, num_tasks=2, num_trials=6, available=5)


def test_no_evaluation_seed_can_be_a_training_seed() -> None:
    assert all(start.seed % 2 == 0 for start in starts_of(list(range(100))))
    assert all(start.seed % 2 == 1 for start in evaluation_starts(0, 1, 100))


def test_numbered_starts_are_shared_with_the_evaluation_unless_they_are_held_out() -> None:
    evaluated = evaluation_trials(0, num_tasks=3, num_trials=2, available=5)
    judged = {(s.task, s.trial) for s in evaluation_starts(0, 3, 2, available=5)}
    assert judged == {(task, trial) for task in range(3) for trial in evaluated[task]}
    everyone = list(range(300))

    def trained(**options: object) -> set[tuple[int, int]]:
        return {(s.task, s.trial) for s in starts_of(everyone, num_trials=5, **options)}

    assert trained() == {(task, trial) for task in range(3) for trial in range(5)}
    assert trained(held_out=evaluated) == trained() - judged
    # Of 0 to 4 without 1 and 3 there are left, in this order, 0, 2 and 4.
    assert _skip(np.arange(3), np.array([[3, 1]] * 3)).tolist() == [0, 2, 4]


def test_shares_of_all_workers_together_are_the_whole() -> None:
    items = list(range(7))
    parts = [share(items, rank, 3) for rank in range(3)]
    assert sorted(item for part in parts for item in part) == items
    assert [len(part) for part in parts] == [3, 2, 2]


def test_tasks_are_drawn_by_their_shares_and_one_without_a_share_never() -> None:
    episodes = np.arange(20_000)
    shares = np.array([0.0, 0.5, 0.3, 0.2, 0.0])
    starts = training_starts(3, 0, 0, np.zeros_like(episodes), episodes, 5, 50, shares=shares)
    drawn = np.bincount([start.task for start in starts], minlength=5)
    # Three standard deviations of a share of 0.5 among 20 000.
    np.testing.assert_allclose(drawn / len(episodes), shares, atol=3 * 0.5 / 20_000**0.5)
    assert drawn[0] == drawn[4] == 0


def test_a_mixture_of_one_task_has_the_starts_of_a_run_on_that_task_alone() -> None:
    envs, episodes = np.arange(6), np.full(6, 4)
    mixed = training_starts(
        3, 7, 1, envs, episodes, num_tasks=3, num_trials=50, shares=np.array([0.0, 0.0, 1.0])
    )
    alone = training_starts(3, 7, 1, envs, episodes, num_tasks=1, num_trials=50)
    assert [start.task for start in mixed] == [2] * 6
    assert [(s.trial, s.seed) for s in mixed] == [(s.trial, s.seed) for s in alone]
