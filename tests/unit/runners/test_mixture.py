from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.data.types import EpisodeResult, Start
from rlinf.runners.mixture import TaskMixture

CURRICULUM = "env.train.mixture.curriculum={focus: 3, half_life: 1}"


def configured(folder: Path, *overrides: str) -> Config:
    given = [f"runner.logger.log_path={folder}", "env.train.init_params.task_ids=[0,1,2]"]
    return load("libero_spatial_ppo_tiny", [*given, *overrides]).config


def episodes(task: int, *successes: bool, dropped: bool = False) -> list[EpisodeResult]:
    return [
        EpisodeResult(
            env=0,
            start=Start(task, 0, 0),
            length=10,
            episode_return=0.0,
            success_once=success,
            success_at_end=success,
            terminated=success,
            dropped=dropped,
        )
        for success in successes
    ]


def test_without_a_mixture_all_tasks_are_alike(tmp_path: Path) -> None:
    assert TaskMixture(configured(tmp_path)).shares(0) is None


def test_weights_hold_in_every_iteration(tmp_path: Path) -> None:
    mixture = TaskMixture(configured(tmp_path, "env.train.mixture.weights={0: 3, 2: 1}"))
    mixture.add(0, episodes(0, *[False] * 9))
    for step in (0, 1, 50):
        shares = mixture.shares(step)
        assert shares is not None and shares.tolist() == [0.75, 0, 0.25]


def test_the_curriculum_leaves_what_is_always_or_never_solved(tmp_path: Path) -> None:
    mixture = TaskMixture(configured(tmp_path, CURRICULUM))
    assert mixture.shares(0) == pytest.approx([1 / 3] * 3)
    ended = [*episodes(0, *[True] * 16), *episodes(1, *[True, False] * 8)]
    mixture.add(0, [*ended, *episodes(2, *[False] * 16)])
    assert mixture.shares(1) == pytest.approx([0.2, 0.6, 0.2])
    # What a simulator gave up says nothing of the policy; the others count half by now.
    mixture.add(1, episodes(2, *[True] * 16, dropped=True))
    assert mixture.shares(2) == pytest.approx([0.2, 0.6, 0.2])


def test_an_iteration_that_is_done_again_counts_once(tmp_path: Path) -> None:
    once, twice = (TaskMixture(configured(tmp_path, CURRICULUM)) for _ in range(2))
    ended = episodes(0, *[True] * 9)
    once.add(0, ended)
    twice.add(0, episodes(0, *[True, False] * 5))
    twice.add(0, ended)
    assert np.array_equal(required(once, 1), required(twice, 1))


def test_a_resumed_run_has_the_shares_of_one_that_went_on(tmp_path: Path) -> None:
    config = configured(tmp_path, CURRICULUM)
    first, resumed = TaskMixture(config), TaskMixture(config)
    first.add(0, [*episodes(0, *[True] * 16), *episodes(1, *[True, False] * 8)])
    first.save(1, tmp_path)
    resumed.load(1, tmp_path)
    assert np.array_equal(required(first, 1), required(resumed, 1))
    for mixture in (first, resumed):
        mixture.add(1, episodes(1, *[True] * 30))
    assert np.array_equal(required(first, 2), required(resumed, 2))


def required(mixture: TaskMixture, step: int) -> np.ndarray:
    shares = mixture.shares(step)
    assert shares is not None
    return shares
