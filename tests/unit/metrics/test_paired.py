"""The comparison of two policies on equal starts, against numbers worked out by hand."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from rlinf.metrics.paired import mcnemar, paired_bootstrap


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),  # nothing tells them apart
        (3, 3, 1.0),
        (1, 5, 2 * (1 + 6) / 2**6),  # at most one of six
        (5, 1, 2 * (1 + 6) / 2**6),
        (0, 10, 2 / 2**10),
        (2, 8, 2 * (1 + 10 + 45) / 2**10),
    ],
)
def test_mcnemars_p_value_is_twice_the_tail_of_a_fair_coin(only_first, only_second, p):
    assert mcnemar(only_first, only_second) == pytest.approx(p, rel=1e-12)


def test_mcnemar_agrees_with_the_binomial_test_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    for first, second in [(12, 31), (140, 171), (1000, 900)]:
        expected = stats.binomtest(first, first + second).pvalue
        assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_a_bootstrap_of_four_starts_is_a_binomial_distribution():
    """One of four differs: the number of times it is drawn is binomial (4, 1/4).

    P(0) = 0.316 and P(at most 2) = 0.949, P(at most 3) = 0.996, so the quantiles at 2.5 % and
    97.5 % are 0 and 3 of 4.
    """
    differences = np.array([1.0, 0, 0, 0])
    low, high = paired_bootstrap(differences, np.zeros(4, np.int64))
    assert (low, high) == pytest.approx((0.0, 0.75))


def test_starts_are_drawn_within_their_task():
    """Each of the tasks has one outcome alone: no resample differs, though the tasks do."""
    differences = np.array([1.0, 1, 1, -1, -1, -1])
    strata = np.array([0, 0, 0, 1, 1, 1])
    assert paired_bootstrap(differences, strata) == (0.0, 0.0)
    low, high = paired_bootstrap(differences, np.zeros(6, np.int64))
    assert low < -0.5 and high > 0.5


def test_a_bootstrap_of_many_starts_has_the_width_of_the_normal_distribution():
    differences = np.repeat([1.0, -1.0, 0.0], [300, 200, 1500])
    low, high = paired_bootstrap(differences, np.zeros(2000, np.int64))
    half = NormalDist().inv_cdf(0.975) * differences.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((0.05 - half, 0.05 + half), abs=0.001)


def test_the_same_seed_gives_the_same_interval():
    differences, strata = np.array([1.0, 0, -1, 0, 1]), np.zeros(5, np.int64)
    assert paired_bootstrap(differences, strata) == paired_bootstrap(differences, strata)
