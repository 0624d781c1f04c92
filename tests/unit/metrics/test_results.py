from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rlinf.data.types import EpisodeResult, Start
from rlinf.metrics.results import episode_metrics, evaluation, outcome, wilson

# Three finished episodes: solved at the end; solved on the way but not at the end; failed.
SOLVED = EpisodeResult(0, Start(0, 0, 0), 4, 2.0, True, True, True)
LOST = EpisodeResult(1, Start(0, 1, 0), 10, 1.0, True, False, False)
FAILED = EpisodeResult(2, Start(1, 0, 0), 5, 0.0, False, False, True)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, row 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_the_wilson_interval_agrees_with_published_numbers(successes, trials, low, high):
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_the_share_itself_is_inside_its_interval() -> None:
    for trials in range(1, 200):
        for successes in range(trials + 1):
            low, high = wilson(successes, trials)
            assert 0 <= low <= successes / trials <= high <= 1
        assert (wilson(0, trials)[0], wilson(trials, trials)[1]) == (0, 1)


def test_episode_metrics_are_means_over_finished_episodes():
    metrics = episode_metrics([SOLVED, LOST, FAILED], "env").reduce()
    assert metrics == {
        "env/success_once": pytest.approx(2 / 3),
        "env/success_at_end": pytest.approx(1 / 3),
        "env/fail_once": pytest.approx(1 / 3),  # the task ended FAILED; LOST ran out of time
        "env/episode_len": pytest.approx((4 + 10 + 5) / 3),
        "env/return": pytest.approx(1.0),
        "env/reward": pytest.approx((2 / 4 + 1 / 10 + 0) / 3),
        "env/num_episodes": 3.0,
    }


def test_without_a_finished_episode_only_the_number_is_known():
    assert episode_metrics([], "env").reduce() == {"env/num_episodes": 0.0}


def test_an_evaluation_says_success_with_an_interval_overall_and_per_task():
    result = evaluation("after", [SOLVED, LOST, FAILED], ["push", "pull"])
    assert result.overall.label == "after"
    assert result.overall.success == pytest.approx(2 / 3)
    assert result.overall.episodes == 3
    assert (result.overall.low, result.overall.high) == wilson(2, 3)
    assert [(i, o.label, o.success) for i, o in result.tasks.items()] == [
        (0, "push", 1.0),
        (1, "pull", 0.0),
    ]
    metrics = result.metrics.reduce()
    assert metrics["eval/success_once"] == pytest.approx(2 / 3)
    assert metrics["eval/success_once_low"] == wilson(2, 3)[0]
    assert metrics["eval/success_once_high"] == wilson(2, 3)[1]
    assert metrics["eval/task_0/success_once"] == 1.0
    assert metrics["eval/task_1/success_once"] == 0.0
    assert metrics["eval/num_episodes"] == 3.0


def test_a_single_task_has_no_metric_of_its_own():
    metrics = evaluation("after", [SOLVED, LOST], ["push"]).metrics
    assert not [name for name in metrics if "task" in name]


def test_the_outcome_of_no_episode_is_unknown():
    nothing = outcome("after", [])
    assert math.isnan(nothing.success)
    assert (nothing.low, nothing.high, nothing.episodes) == (0.0, 1.0, 0)


def test_success_at_any_step_is_what_counts():
    assert outcome("after", [LOST, replace(LOST, success_once=False)]).success == 0.5


def test_groups_of_tasks_have_outcomes_of_their_own():
    result = evaluation("after", [SOLVED, LOST, FAILED], ["a", "b"], groups=["first", "second"])
    assert {name: (o.success, o.episodes) for name, o in result.groups.items()} == {
        "first": (1.0, 2),
        "second": (0.0, 1),
    }
    assert result.metrics.reduce()["eval/second/success_once"] == 0.0


def test_one_group_alone_says_nothing_that_the_whole_does_not():
    result = evaluation("after", [SOLVED, FAILED], ["a", "b"], groups=["same", "same"])
    assert result.groups == {}
