"""Everything wrong with a configuration is collected and told at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
