"""The success rate of an evaluation, and the comparison of two."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """Success rate of one policy on one set of starts."""

    label: str  # what a reader calls it: "before", "after", a task
    success: float  # share of episodes, in [0, 1]
    low: float  # 95 % confidence interval of `success`
    high: float
    episodes: int  # that were counted


def difference_interval(before: Outcome, after: Outcome) -> tuple[float, float]:
    """95 % interval of `after.success - before.success`, from the intervals of both.

    Newcombe, "Interval estimation for the difference between independent proportions" (1998),
    method 10: the distances to the bounds add up as squares. The starts of both evaluations are
    treated as independent; where they are the same, the interval is on the wide side.
    """
    change = after.success - before.success
    down = math.hypot(after.success - after.low, before.high - before.success)
    up = math.hypot(after.high - after.success, before.success - before.low)
    return change - down, change + up
