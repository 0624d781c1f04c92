"""What a check is, what it gets, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["pass", "fail", "no such device", "not installed"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    name: str
    run: str
    """Function (`Scope`, options) that gives a `Found`, as `module:function`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keywords of the function."""
    gpus: int = 0
    """GPUs that it needs; with fewer it ends as `no such device`."""
    gpu: int | None = None
    """The one GPU that it sees, by its number on the machine; None shows it all of them."""
    on_cpu: bool = False
    """It sees no GPU."""
    packages: tuple[str, ...] = ()
    """Without these it ends as `not installed`."""
    full: bool = False
    """Whether it belongs to `--full` alone."""
    limit_s: float = 300.0
    """Seconds after which it counts as hung."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check may use."""

    gpus: int  # GPUs that it sees
    full: bool  # larger sizes
    folder: str  # of its own, empty

    @property
    def device(self) -> str:
        """Where it computes, as torch names it."""
        return "cuda:0" if self.gpus else "cpu"


@dataclass(frozen=True, slots=True)
class Found:
    """What a check that passed has to say."""

    text: str
    numbers: Mapping[str, Any] = field(default_factory=dict)


class Failed(Exception):
    """Something is not as it has to be; the message says what, with numbers."""

    def __init__(self, message: str, numbers: Mapping[str, Any] | None = None) -> None:
        self.numbers = numbers or {}
        super().__init__(message)


class Absent(Exception):
    """Files or packages that the check needs are not on this machine; the message names them."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check ended."""

    name: str
    status: Status
    text: str
    seconds: float = 0.0  # wall time, the start of its process included
    numbers: Mapping[str, Any] = field(default_factory=dict)


def require(holds: bool, message: str, **numbers: Any) -> None:
    """
    Raises:
        Failed: it does not hold.
    """
    if not holds:
        raise Failed(message, numbers)
