"""What the pipeline costs, and what it reaches of what its parts could do.

See README.md beside this file for what the numbers mean.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table

import exchange
import floors
import late
import light
import record
import waiting
from rlinf.errors import EnvironmentFailure, UserError, WorkerFailed

EXCHANGE_TURNS = 10


def main() -> int:
    """Measures one case, prints a table, and writes a result where asked."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="rlinf-benchmark-") as folder:
        try:
            numbers, table = arguments.run(arguments, Path(folder))
        except (UserError, EnvironmentFailure, WorkerFailed) as error:
            print(f"error: {error}", file=sys.stderr)
            return int(error.exit_code)
    console = Console()
    console.print(table)
    if arguments.write:
        console.print(
            f"written to {record.write(f'rollout-{arguments.case}', record.record(numbers))}"
        )
    return 0


def _light(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Table]:
    numbers = light.measure(arguments.rounds, arguments.iterations, folder, arguments.overrides)
    return numbers, light.table(numbers)


def _quickstart(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Group]:
    rates = floors.measure(arguments.rounds, folder, arguments.overrides)
    asking = exchange.measure(EXCHANGE_TURNS, folder, ())
    return (
        {"rates": rates, "exchange": asking},
        Group(floors.table(rates), exchange.table(asking)),
    )


def _exchange(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Table]:
    numbers = exchange.measure(arguments.rounds, folder, arguments.overrides)
    return numbers, exchange.table(numbers)


def _late(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Table]:
    numbers = late.measure(arguments.rounds, folder, arguments.overrides)
    return numbers, late.table(numbers)


def _waiting(arguments: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Table]:
    numbers = waiting.measure(arguments.rounds, folder, arguments.overrides)
    return numbers, waiting.table(numbers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    cases = parser.add_subparsers(title="cases", required=True, dest="case", metavar="CASE")
    for name, run, rounds, description in (
        ("light", _light, 5, "training on a toy simulator against a plain loop"),
        ("quickstart", _quickstart, 30, "the pipeline against its parts, and one exchange"),
        (
            "exchange",
            _exchange,
            EXCHANGE_TURNS,
            "what asking the policy costs beyond the policy's own time",
        ),
        ("late", _late, 5, "what leaving out what cannot count saves as a policy gets better"),
        ("waiting", _waiting, 3, "what it saves that no env waits for the slowest of its epoch"),
    ):
        case = cases.add_parser(name, help=description, description=description)
        case.set_defaults(run=run)
        case.add_argument("--rounds", type=int, default=rounds, help="turns (default %(default)s)")
        case.add_argument("--write", action="store_true", help="write a file into results/")
        if name == "light":
            case.add_argument(
                "--iterations", type=int, default=5, help="per turn and side (default %(default)s)"
            )
        case.add_argument(
            "overrides", metavar="key=value", nargs="*", help="changes to the configuration"
        )
    return parser


if __name__ == "__main__":
    sys.exit(main())
