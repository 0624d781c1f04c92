"""Curves of a run that stay small however long it gets: neighbouring steps share a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

MOST = 400
"""Buckets of a curve; where a step lies beyond them, two neighbours become one."""

Point = list[float | None]
"""`[step, value]`; of a bucket with several values `[mean step, mean, lowest, highest]`. A value of
None is one that was not a finite number."""


@dataclass(slots=True)
class Bucket:
    """What is known of one metric in neighbouring steps."""

    records: int = 0
    steps: float = 0.0  # sum
    values: int = 0  # finite ones
    total: float = 0.0  # sum of the values
    low: float = inf
    high: float = -inf

    def add(self, step: int, value: float | None) -> None:
        """One more value; None is one that was not finite."""
        self.records += 1
        self.steps += step
        if value is not None:
            self.values += 1
            self.total += value
            self.low, self.high = min(self.low, value), max(self.high, value)

    def merge(self, other: Bucket) -> None:
        """Takes in what another bucket holds."""
        self.records += other.records
        self.steps += other.steps
        self.values += other.values
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)

    def point(self) -> Point:
        """The bucket as a reader draws it."""
        step = rounded(self.steps / self.records)
        if not self.values:
            return [step, None]
        mean = rounded(self.total / self.values)
        return (
            [step, mean]
            if self.values == 1
            else [step, mean, rounded(self.low), rounded(self.high)]
        )


class Curves:
    """Every metric in at most `MOST` buckets of `width` steps each."""

    def __init__(self) -> None:
        self.width = 1  # a power of two
        self.last = 0  # the highest step
        self._metrics: dict[str, dict[int, Bucket]] = {}

    def add(self, step: int, name: str, value: float | None) -> None:
        """One value of a metric; steps may come in any order."""
        self.last = max(self.last, step)
        while step // self.width >= MOST:
            self._double()
        buckets = self._metrics.setdefault(name, {})
        buckets.setdefault(step // self.width, Bucket()).add(step, value)

    def _double(self) -> None:
        self.width *= 2
        for name, buckets in self._metrics.items():
            wider: dict[int, Bucket] = {}
            for index, bucket in buckets.items():
                wider.setdefault(index // 2, Bucket()).merge(bucket)
            self._metrics[name] = wider

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def buckets(self, name: str, since: int = 0) -> list[tuple[int, Bucket]]:
        """The buckets of a metric from number `since` on, in order; none of one that is unknown."""
        buckets = self._metrics.get(name, {})
        return sorted(
            ((index, bucket) for index, bucket in buckets.items() if index >= since),
            key=lambda pair: pair[0],
        )

    def points(self, name: str, since: int = 0) -> list[Point]:
        """A metric from bucket `since` on."""
        return [bucket.point() for _, bucket in self.buckets(name, since)]


def rounded(number: float) -> float:
    """Six digits, which is more than a curve shows."""
    return float(f"{number:.6g}")
