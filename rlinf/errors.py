"""The errors a run can end with, and the exit code of each."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can fix: printed without a stack trace, exit code 2.

    Args:
        message: what is wrong: key, value found, rule.
        fix: what to do about it, as one sentence or command.
    """

    exit_code = 2

    def __init__(self, message: str, fix: str = "") -> None:
        self.message = message
        self.fix = fix
        super().__init__(message if not fix else f"{message}\n  fix: {fix}")

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.message, self.fix)


class OutOfMemory(UserError):
    """The memory of a device does not suffice; the message says what is in it. Exit code 2.

    Args:
        smaller: rows in a pass that a new worker may try; None where nothing is left to try.
    """

    def __init__(self, message: str, fix: str = "", smaller: int | None = None) -> None:
        self.smaller = smaller
        super().__init__(message, fix)

    def __reduce__(self) -> tuple[type, tuple[str, str, int | None]]:  # type: ignore[override]
        return type(self), (self.message, self.fix, self.smaller)


class EnvironmentFailure(RuntimeError):
    """A simulator keeps failing; the message names env, seed and action. Exit code 3."""

    exit_code = 3


class NumericsError(RuntimeError):
    """NaN or Inf where the run cannot go on. Exit code 4."""

    exit_code = 4


class WorkerFailed(RuntimeError):
    """A worker process exited, hung or raised; the message carries its traceback. Exit code 1."""

    exit_code = 1


class NotReproduced(RuntimeError):
    """A measured number is not the expected one. Exit code 5."""

    exit_code = 5


class NodeLost(WorkerFailed):
    """A machine of the run is gone and no other took its place in time. Exit code 1."""


class RayFailed(WorkerFailed):
    """The Ray that this run started ended, and all workers with it. Exit code 1."""


class UpdateGivenUp(RuntimeError):
    """An update ended before it was complete, since the run is to stop; nothing failed."""


OWN_ERRORS = (UserError, EnvironmentFailure, NumericsError, WorkerFailed, UpdateGivenUp)
"""Raised in one process, they are raised again as they are in the one that waits for it."""
