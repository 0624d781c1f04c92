"""Everything wrong with a configuration is collected and reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import NamedTuple

from rlinf import installer, registry
from rlinf.errors import UserError


class Problem(NamedTuple):
    """One thing the user has to change."""

    message: str  # key, value found, rule
    fix: str  # what to do about it


def error_of(problems: Sequence[Problem], where: str) -> UserError:
    """All problems as one error; `where` names the configuration."""
    if len(problems) == 1:
        return UserError(*problems[0])
    lines = [f"{len(problems)} problems in the configuration {where}:"]
    for number, problem in enumerate(problems, start=1):
        lines.append(f"  {number}. {problem.message}")
        if problem.fix:
            lines.append(f"     fix: {problem.fix}")
    return UserError("\n".join(lines), "")


def missing_packages(names: Sequence[str], model: str) -> Iterator[Problem]:
    """One problem for the packages that are not installed and that a model needs."""
    missing = [name for name in names if find_spec(name) is None]
    if missing:
        options = f"embodied --model {model.replace('_', '-')}"
        yield Problem(
            f"{model} needs {', '.join(missing)}, not installed in this environment",
            f"run: {installer.command(options, registry.model(model).extra)}",
        )


def require_package(name: str, command: str) -> None:
    """Stands before the import of a package that only some installations have.

    Raises:
        UserError: it is not installed; `command` does that.
    """
    if find_spec(name) is None:
        raise UserError(f"the package {name} is not installed", f"run: {command}")
