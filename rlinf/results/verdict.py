"""Measured against expected: is the difference more than chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlinf.metrics.outcome import Outcome, difference_interval
from rlinf.metrics.results import wilson
from rlinf.results.registry import ExpectedRate

LEVEL = 0.05
"""Share of true reproductions that all tests of a row together may take for none."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one number of a table."""

    expected: Outcome
    measured: Outcome | None  # None: the run gave no such number
    test: str  # by which it was judged; empty: it was not
    inside: bool | None  # None: not judged

    @property
    def failed(self) -> bool:
        """The number is not reproduced."""
        return self.inside is False


def judge(
    expected: Sequence[ExpectedRate], measured: Mapping[str, Outcome]
) -> tuple[Judgement, ...]:
    """Every number of a row.

    With an interval of its own, a measured value has to lie in it. Otherwise zero has to lie in
    Newcombe's interval of the difference (`metrics/outcome.py`), at 1 - 0.05 / k for k numbers that
    are judged (Bonferroni), as both are shares of episodes.
    """
    judged = sum(one.interval is None and one.episodes is not None for one in expected)
    return tuple(_judge(one, measured.get(one.of), LEVEL / max(judged, 1)) for one in expected)


def _judge(expected: ExpectedRate, measured: Outcome | None, level: float) -> Judgement:
    told = expected.outcome()
    if expected.episodes is None:
        return Judgement(told, measured, "", None)
    if measured is None:
        return Judgement(told, None, "the run gave no such number", False)
    if expected.interval is not None:
        low, high = expected.interval
        return Judgement(told, measured, "recorded interval", low <= measured.success <= high)
    confidence = 1 - level
    low, high = wilson(round(measured.success * measured.episodes), measured.episodes, confidence)
    wide = Outcome(measured.label, measured.success, low, high, measured.episodes)
    below, above = difference_interval(expected.outcome(confidence), wide)
    test = f"Newcombe's interval of the difference, {confidence:.1%}"
    return Judgement(told, measured, test, below <= 0 <= above)
