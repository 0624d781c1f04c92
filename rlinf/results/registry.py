"""The rows of `rlinf reproduce`, from the YAML files beside this module."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rlinf.metrics.outcome import Outcome
from rlinf.metrics.results import wilson
from rlinf.registry import choose

Share = Annotated[float, Field(ge=0, le=1)]


def _flat(value: Any) -> Any:
    """Lists in a list, as one YAML list names another, become one list."""
    if not isinstance(value, list):
        return value
    return [one for part in value for one in (part if isinstance(part, list) else [part])]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedWeights(_Entry):
    """A folder of weights on a hub."""

    key: str
    """Configuration key that gets the folder."""
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    """OWNER/NAME for `rlinf download`."""
    revision: str | None = None
    """Commit of the repository; null where none was published with the number."""

    @property
    def folder(self) -> str:
        """Name of the folder that `rlinf download` makes."""
        return self.repository.partition("/")[2]


class ExpectedRate(_Entry):
    """One number of a table."""

    of: str
    """`all`, a group of tasks such as a suite, or a column of a benchmark's table."""
    success: Share
    episodes: Annotated[int, Field(gt=0)] | None = None
    """That it is a share of; null: not known, so that it is shown and not judged."""
    interval: tuple[Share, Share] | None = None
    """That a measured value shall lie in; null: the test knows the episodes of both."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.interval is not None and not self.interval[0] <= self.success <= self.interval[1]:
            raise ValueError(f"{self.success} is not inside {self.interval}")
        return self

    def outcome(self, confidence: float = 0.95) -> Outcome:
        """With its interval: the given one, or Wilson's."""
        number = self.episodes or 0
        low, high = self.interval or wilson(round(self.success * number), number, confidence)
        return Outcome(self.of, self.success, low, high, number)


class Origin(_Entry):
    """Who says so."""

    by: Literal["us", "others"]
    where: str


class ResultRow(_Entry):
    """A row of a table of results."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    title: str
    run: Literal["evaluate", "train"]
    """What it takes: an evaluation of published weights, or a training with its last evaluation."""
    config: str
    """Name in `examples/embodiment/config`."""
    overrides: Annotated[tuple[str, ...], BeforeValidator(_flat)]
    benchmark: str | None = None
    """`rlinf eval --benchmark`; null: the evaluation of the configuration."""
    weights: tuple[PublishedWeights, ...] = ()
    protocol: str
    seed: int
    expected: tuple[ExpectedRate, ...]
    """Empty where nothing was measured yet."""
    source: Origin
    hardware: str
    """That the number is from."""
    gpus: int = 0
    """GPUs that this machine has to have."""
    gpu_hours: float | None = None
    """That the number cost; null: not published."""
    file: str | None = None
    """Result file of our own run, in the repository; null: none is kept."""
    note: str | None = None

    @property
    def run_by_us(self) -> str:
        """What the table says of it."""
        if self.file is not None:
            return "yes"
        return "yes, no file" if self.source.by == "us" and self.expected else "no"


@cache
def rows() -> Mapping[str, ResultRow]:
    """All rows by name, those of a file in its order."""
    found: dict[str, ResultRow] = {}
    for file in sorted(files(__package__).iterdir(), key=lambda path: path.name):
        if not file.name.endswith(".yaml"):
            continue
        for plain in yaml.safe_load(file.read_text(encoding="utf-8"))["rows"]:
            row = ResultRow.model_validate(plain)
            assert row.name not in found, f"{row.name} stands twice"
            found[row.name] = row
    return found


def row_of(name: str) -> ResultRow:
    """The row of a name.

    Raises:
        UserError: there is none.
    """
    return choose(rows(), name)
