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


class EnvironmentFailure(RuntimeError):
    """A simulator keeps failing; the message names env, seed and action. Exit code 3."""

    exit_code = 3


class NumericsError(RuntimeError):
    """NaN or Inf where the run cannot go on. Exit code 4."""

    exit_code = 4


class WorkerDied(RuntimeError):
    """A worker process ended or raised; the message carries its traceback. Exit code 1."""

    exit_code = 1


OWN_ERRORS = (UserError, EnvironmentFailure, NumericsError, WorkerDied)
"""Raised in one process, they are raised again as they are in the one that waits for it."""
