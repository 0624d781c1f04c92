"""Metrics that add up exactly over micro-batches, updates, ranks and workers.

A metric is kept as the sums it is made of and is divided once, at the end. A mean of means would
depend on how the same numbers were split.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

Number = Any
"""A float, or a tensor of no dimensions that stays on its device until the metric is read."""


class _Kind:
    """Some numbers of a metric's parts, and how parts merge."""

    __slots__: tuple[str, ...] = ()

    def numbers(self) -> list[Number]:
        """The fields, in order."""
        return [getattr(self, name) for name in self.__slots__]


class _Sums(_Kind):
    """A metric whose numbers add up over the parts."""

    __slots__ = ()

    def merge(self, other: Self) -> Self:
        """The metric of both parts together."""
        pairs = zip(self.numbers(), other.numbers(), strict=True)
        return type(self)(*(mine + yours for mine, yours in pairs))


@dataclass(frozen=True, slots=True)
class Mean(_Sums):
    """numerator / denominator, each summed over the parts."""

    numerator: Number
    denominator: Number

    def value(self) -> float | None:
        """The mean; None if nothing was counted."""
        denominator = float(self.denominator)
        return float(self.numerator) / denominator if denominator else None


@dataclass(frozen=True, slots=True)
class Total(_Sums):
    """A count or an amount."""

    total: Number

    def value(self) -> float:
        """The sum."""
        return float(self.total)


@dataclass(frozen=True, slots=True)
class Maximum(_Kind):
    """The largest of the parts."""

    largest: Number

    def merge(self, other: Self) -> Self:
        """The metric of both parts together."""
        return type(self)(max(self.largest, other.largest))

    def value(self) -> float:
        """The largest."""
        return float(self.largest)


@dataclass(frozen=True, slots=True)
class Minimum(_Kind):
    """The smallest of the parts."""

    smallest: Number

    def merge(self, other: Self) -> Self:
        """The metric of both parts together."""
        return type(self)(min(self.smallest, other.smallest))

    def value(self) -> float:
        """The smallest."""
        return float(self.smallest)


@dataclass(frozen=True, slots=True)
class ExplainedVariance(_Sums):
    """1 - Var(error) / Var(target), from first and second moments over all parts."""

    count: Number
    targets: Number
    targets_squared: Number
    errors: Number
    errors_squared: Number

    def value(self) -> float | None:
        """None if the targets do not vary."""
        count = float(self.count)
        if not count:
            return None
        targets_squared = float(self.targets_squared) / count
        variance = targets_squared - (float(self.targets) / count) ** 2
        unexplained = float(self.errors_squared) / count - (float(self.errors) / count) ** 2
        # Equal targets leave a little rounding in the difference of equal squares.
        return 1.0 - unexplained / variance if variance > 1e-12 * targets_squared else None


Metric = Mean | Total | Maximum | Minimum | ExplainedVariance


class Metrics(Mapping[str, Metric]):
    """Named metrics. Merging is associative: parts may be grouped in any way."""

    __slots__ = ("_metrics",)

    def __init__(self, metrics: Mapping[str, Metric] | None = None) -> None:
        self._metrics = dict(metrics or {})

    def __getitem__(self, name: str) -> Metric:
        return self._metrics[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    @classmethod
    def means(cls, values: Mapping[str, float]) -> Self:
        """Plain numbers, each as a mean of one."""
        return cls({name: Mean(value, 1.0) for name, value in values.items()})

    @classmethod
    def merge(cls, parts: Iterable[Mapping[str, Metric]]) -> Self:
        """All metrics of all parts; those of one name must be of one kind."""
        merged: dict[str, Any] = {}
        for part in parts:
            for name, metric in part.items():
                if name not in merged:
                    merged[name] = metric
                elif type(merged[name]) is type(metric):
                    merged[name] = merged[name].merge(metric)
                else:
                    raise TypeError(f"{name} is both {merged[name]} and {metric}")
        return cls(merged)

    def on_host(self) -> Self:
        """The same with plain floats: waits for the device, and is cheap to send."""
        return type(self)(
            {name: type(m)(*map(float, m.numbers())) for name, m in self._metrics.items()}
        )

    def reduce(self) -> dict[str, float]:
        """The number of each metric; those of which nothing was counted are left out."""
        values = {name: metric.value() for name, metric in self._metrics.items()}
        return {name: value for name, value in values.items() if value is not None}
