"""The command: all checks one after the other, a table of them, and a file of the numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from rlinf.config.machine import this_machine
from rlinf.errors import UserError
from rlinf.selftest import isolation
from rlinf.selftest.catalog import catalog
from rlinf.selftest.check import Check, CheckResult, Status
from rlinf.selftest.record import hardware, record, rounded

_STATUSES: tuple[Status, ...] = ("pass", "fail", "no such device", "not installed")


def selftest(
    full: bool, only: Sequence[str], folder: Path | None, say: Callable[[str], None]
) -> int:
    """Runs the checks and writes their results; returns 2 where one failed, else 0.

    Args:
        full: all checks, with larger sizes.
        only: beginnings of the names of those to run; none for all.
        folder: for results and logs; None makes `logs/<date-time>-selftest`.

    Raises:
        UserError: no check has such a name, or the folder exists or cannot be made.
    """
    gpus = this_machine().node.accelerators
    checks = [check for check in catalog(gpus) if full or not check.full]
    checks = chosen(checks, only)
    folder = folder or Path("logs") / f"{datetime.now():%Y-%m-%d-%H-%M-%S}-selftest"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made: {error.strerror}", "name another folder with --output"
        ) from error
    outcomes = run(checks, gpus, full, folder, say)
    counts = {status: sum(o.status == status for o in outcomes) for status in _STATUSES}
    say(", ".join(f"{count} {status}" for status, count in counts.items() if count))
    say(f"results: {write(outcomes, full, only, folder)}")
    return 2 if counts["fail"] else 0


def chosen(checks: Sequence[Check], only: Sequence[str]) -> list[Check]:
    """Those whose names begin with one of `only`."""
    for start in only:
        if not any(check.name.startswith(start) for check in checks):
            raise UserError(
                f"--only {start}: no check has a name that begins so",
                f"there are: {', '.join(check.name for check in checks)}",
            )
    return [check for check in checks if not only or check.name.startswith(tuple(only))]


def run(
    checks: Sequence[Check], gpus: int, full: bool, folder: Path, say: Callable[[str], None]
) -> list[CheckResult]:
    """Runs the checks, with a line of the table after each."""
    isolation.prepare()
    width = max(len(check.name) for check in checks)
    outcomes = []
    for number, check in enumerate(checks):
        place = folder / f"{number:02}-{check.name.replace(' ', '-')}"
        outcome = isolation.run(check, gpus, full, place.resolve())
        say(f"{outcome.name:<{width}}  {outcome.status:<14}  {outcome.text}")
        outcomes.append(outcome)
    return outcomes


def write(outcomes: Sequence[CheckResult], full: bool, only: Sequence[str], folder: Path) -> Path:
    """Writes `selftest-<hardware>-<date>.json`, in the form of `benchmarks/results`."""
    command = " ".join(["rlinf selftest", *["--full"] * full, *(f"--only {o}" for o in only)])
    numbers = {
        outcome.name: {
            "status": outcome.status,
            "text": outcome.text,
            "seconds": outcome.seconds,
            **outcome.numbers,
        }
        for outcome in outcomes
    }
    content = record(numbers, command)
    path = folder / f"selftest-{hardware(content)}-{content['date'][:10]}.json"
    path.write_text(json.dumps(rounded(content), indent=1) + "\n")
    return path
