"""`rlinf convert`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import get_args

from rlinf.cli.words import Commands, subcommand
from rlinf.config.dialect import ConfigDialect
from rlinf.errors import UserError
from rlinf.wording import plural


def add(commands: Commands) -> None:
    """`rlinf convert`."""
    command = subcommand(
        commands,
        "convert",
        _convert,
        "turn a configuration of the published RLinf into one of this package",
    )
    command.add_argument("theirs", metavar="THEIRS.yaml", help="its main file")
    command.add_argument(
        "-o", "--output", metavar="OURS.yaml", help="file to write; the default is the terminal"
    )
    command.add_argument(
        "--dialect",
        choices=get_args(ConfigDialect),
        help="version it is for; the default is guessed from its keys",
    )


def _convert(arguments: argparse.Namespace) -> int:
    from rlinf.config.compose import locate
    from rlinf.convert.convert import convert

    converted = convert(locate(arguments.theirs), arguments.dialect)
    for note in converted.notes:
        print(f"note: {note}", file=sys.stderr)
    for problem in converted.open:
        print(f"before it runs: {problem.message}\n  fix: {problem.fix}", file=sys.stderr)
    if arguments.output is None:
        print(converted.text, end="")
        return 0
    _write_new(Path(arguments.output).expanduser(), converted.text)
    print(
        f"{arguments.output} sets {plural(converted.kept, 'value')} and leaves out "
        f"{plural(converted.left_out, 'key')}, for the reasons at its end\n"
        f"next: rlinf check {arguments.output}"
    )
    return 0


def _write_new(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}", "name a file that does not exist yet"
        ) from error
