"""Measured against expected, against intervals worked out by hand."""

from __future__ import annotations

import pytest

from rlinf.metrics.outcome import Outcome
from rlinf.metrics.results import wilson
from rlinf.results.registry import ExpectedRate
from rlinf.results.verdict import judge


def found(name: str, successes: int, episodes: int) -> Outcome:
    return Outcome(name, successes / episodes, *wilson(successes, episodes), episodes)


def rate(name: str, success: float, episodes: int | None, interval=None) -> ExpectedRate:
    return ExpectedRate(of=name, success=success, episodes=episodes, interval=interval)


def test_a_recorded_interval_has_to_hold_the_measured_value():
    expected = [rate("all", 0.8, 100, (0.7, 0.9))]
    for successes, inside in ((70, True), (90, True), (69, False), (91, False)):
        (verdict,) = judge(expected, {"all": found("all", successes, 100)})
        assert verdict.inside is inside and verdict.failed is not inside


def test_two_shares_are_told_apart_by_newcombes_interval():
    """56 of 70 and 48 of 80: Newcombe (1998), table II, method 10: 0.0524 to 0.3339."""
    expected = [rate("all", 48 / 80, 80)]
    (verdict,) = judge(expected, {"all": found("all", 56, 70)})
    assert verdict.inside is False and "Newcombe" in verdict.test and "95.0%" in verdict.test
    # 52 of 70 is 0.743: the interval reaches from -0.008 to 0.287.
    (verdict,) = judge(expected, {"all": found("all", 52, 70)})
    assert verdict.inside is True


def test_with_several_numbers_each_is_judged_more_carefully():
    """What fails alone passes among five, each at 99 %: Bonferroni."""
    one, five = [rate("a", 48 / 80, 80)], [rate(name, 48 / 80, 80) for name in "abcde"]
    measured = {name: found(name, 55, 70) for name in "abcde"}
    assert judge(one, measured)[0].inside is False
    assert {verdict.inside for verdict in judge(five, measured)} == {True}
    assert "99.0%" in judge(five, measured)[0].test


def test_a_number_without_episodes_is_shown_and_not_judged():
    (verdict,) = judge([rate("mean", 0.39, None)], {"mean": found("mean", 1, 100)})
    assert verdict.inside is None and not verdict.failed and verdict.measured is not None


def test_a_number_that_was_not_measured_is_not_reproduced():
    (verdict,) = judge([rate("all", 0.5, 10)], {})
    assert verdict.failed and verdict.test == "the run gave no such number"


@pytest.mark.parametrize(("successes", "inside"), [(1000, True), (970, False)])
def test_a_large_evaluation_tells_small_differences(successes: int, inside: bool):
    (verdict,) = judge([rate("all", 0.996, 1000)], {"all": found("all", successes, 1000)})
    assert verdict.inside is inside
