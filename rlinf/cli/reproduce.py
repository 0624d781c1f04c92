"""`rlinf reproduce`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlinf.cli.begin import begun, refuse_to_resume
from rlinf.cli.words import Commands, subcommand
from rlinf.errors import UserError
from rlinf.registry import benchmarks, resolve

if TYPE_CHECKING:
    from pathlib import Path

    from rlinf.results.registry import ResultRow


def add(commands: Commands) -> None:
    """`rlinf reproduce`."""
    command = subcommand(
        commands,
        "reproduce",
        _reproduce,
        "run a row of a table of results and compare; without one, print the table",
    )
    command.add_argument("row", metavar="ROW", nargs="?", help="name in the table")
    command.add_argument(
        "overrides",
        metavar="key=value",
        nargs="*",
        help="where and how it runs, such as runner.logger.log_path; no setting of the experiment",
    )
    command.add_argument(
        "--weights", metavar="DIR", default=".", help="folder of the downloaded models; here"
    )
    command.add_argument(
        "--check", action="store_true", help="say what the row needs here; start nothing"
    )


def _reproduce(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from rich.console import Console

    from rlinf.results.registry import row_of, rows
    from rlinf.runners import reproduce

    console = Console(highlight=False)
    if arguments.row is None:
        reproduce.show_rows(list(rows().values()), console)
        return 0
    row, weights = row_of(arguments.row), Path(arguments.weights).expanduser()
    overrides = reproduce.overrides_of(row, weights, arguments.overrides)
    reproduce.describe(row, overrides, console)
    if row.run == "evaluate":
        overrides.insert(0, "runner.only_eval=true")
    _check_row(row, weights, overrides)
    if arguments.check:
        print(f"{row.name} can run here.")
        return 0
    with begun(row.config, overrides, refuse=refuse_to_resume) as loaded:
        if row.benchmark is not None:
            from rlinf.runners.benchmark import run_benchmark

            benchmark = resolve(benchmarks(), row.benchmark)()
            code = run_benchmark(loaded.config, loaded.plan, benchmark)
        elif row.run == "evaluate":
            from rlinf.runners.evaluate import evaluate

            code = evaluate(loaded.config, loaded.plan)
        else:
            from rlinf.runners.train import train

            code = train(loaded.config, loaded.plan)
        if code == 0:
            reproduce.conclude(row, loaded.config.runner.logger.run_dir, console)
    return code


def _check_row(row: ResultRow, weights: Path, overrides: Sequence[str]) -> None:
    """Raises UserError with everything that the row lacks on this machine."""
    from rlinf.config.load import load
    from rlinf.config.preflight import lacking, missing_assets
    from rlinf.config.problems import Problem, error_of
    from rlinf.runners.reproduce import needs

    problems = list(needs(row, weights))
    told = tuple(f"{one.key} =" for one in row.weights)
    try:
        config = load(row.config, overrides).config
    except UserError as error:  # memory among others
        problems.append(Problem(error.message, error.fix))
    else:
        found = [*lacking(config), *missing_assets(config)]
        problems += [one for one in found if not (told and one.message.startswith(told))]
    if problems:
        raise error_of(problems, row.name)
