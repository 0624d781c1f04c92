"""The `rlinf` command. Only what a subcommand needs is imported, and only when it runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rlinf.cli.parser import parse
from rlinf.errors import (
    EnvironmentFailure,
    NotReproduced,
    NumericsError,
    UserError,
    WorkerFailed,
)
from rlinf.safe_path import leave_out_working_folder
from rlinf.streams import make_patient


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the exit code."""
    if argv is None:  # this process is the command
        _keep_assertions()
        make_patient()
    try:
        arguments = parse(argv)
        _check_working_folder()
        if argv is None:  # this process is the command; a caller keeps its own environment
            _settle_process()
        code = int(arguments.run(arguments))
        sys.stdout.flush()  # what does not fit on a disk is noticed here
        return code
    except (UserError, EnvironmentFailure, NumericsError, NotReproduced, WorkerFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # before or after the part of a run that stops in good order
        return 130


def _keep_assertions() -> None:
    """Begins anew with `assert`, which PYTHONOPTIMIZE leaves out: Hydra's parser works in them."""
    if sys.flags.optimize and os.environ.pop("PYTHONOPTIMIZE", ""):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _check_working_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - `Path.cwd` is this
    except OSError as error:
        raise UserError(
            f"the folder that rlinf was started in is gone or closed to you: {error.strerror}",
            "cd to another one",
        ) from error


def _settle_process() -> None:
    """Where this process and all it starts find modules, and where they keep caches."""
    leave_out_working_folder()
    from rlinf.config import home

    for note in home.settle(os.environ):
        print(f"note: {note}", file=sys.stderr)
