"""Benchmarks: several sets of starts, in groups, that one policy is evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlinf.data.types import EpisodeResult


def _nothing(_: Sequence[EpisodeResult]) -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class BenchmarkSet:
    """One evaluation."""

    name: str  # of its row and of its file
    group: str  # the column it counts in
    init_params: Mapping[str, Any]  # what it changes in `env.eval.init_params`
    # What a reader has to know about these very episodes.
    remarks: Callable[[Sequence[EpisodeResult]], list[str]] = field(default=_nothing)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """All evaluations of a benchmark, in order."""

    title: str
    simulator_type: str
    sets: tuple[BenchmarkSet, ...]
    within: str  # the group of the training setting; the others are out of distribution
    pooled: bool = False  # episodes count alike, as where published; else sets do
    remarks: tuple[str, ...] = ()  # what a reader has to know to compare with published numbers

    @property
    def groups(self) -> list[str]:
        """Names of the groups, in order."""
        return list(dict.fromkeys(part.group for part in self.sets))
