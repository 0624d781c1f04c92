"""Two policies from the same starts: is the difference more than chance, and how large is it?"""

from __future__ import annotations

from math import comb

import numpy as np

DRAWS = 10_000
"""Resamples of a bootstrap."""


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test.

    Starts that both policies solve, or neither, say nothing. If the policies are equally good, each
    of the n = b + c others is as likely to be solved by one as by the other alone, and with
    k = min(b, c)::

        p = min(1, 2 * sum(C(n, i), i = 0..k) / 2^n)

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions"
    (1947), with the binomial distribution in place of chi square.

    Args:
        only_first: b, starts that only the first policy solved.
        only_second: c, starts that only the second one solved.
    """
    total, least = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(total, count) for count in range(least + 1))
    return min(1.0, 2 * tail / 2**total)


def paired_bootstrap(
    differences: np.ndarray,
    strata: np.ndarray,
    confidence: float = 0.95,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean of `differences` (Efron and Tibshirani 1993, chapter 13).

    Starts are drawn anew with replacement, each with the outcomes of both policies; those of a
    stratum among themselves, as its number of starts was chosen.

    Args:
        differences: [N] float64, second minus first policy, of each start.
        strata: [N] int64, such as the task of each start.
        confidence: share of the resamples inside the interval.
        draws: resamples.
        seed: of the resamples; the same gives the same interval.
    """
    generator, sums = np.random.default_rng(seed), np.zeros(draws)
    for stratum in np.unique(strata):
        values, counts = np.unique(differences[strata == stratum], return_counts=True)
        number = counts.sum()
        # As many draws of starts as of values with their shares, in less time.
        sums += generator.multinomial(number, counts / number, size=draws) @ values
    outside = (1 - confidence) / 2
    low, high = np.quantile(sums / len(differences), [outside, 1 - outside])
    return float(low), float(high)
