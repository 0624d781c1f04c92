"""Words that several subcommands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""The subcommands of a command; each adds itself."""


def subcommand(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], description: str
) -> argparse.ArgumentParser:
    """A new subcommand, whose arguments `run` takes to return the exit code."""
    command = commands.add_parser(name, help=description, description=description)
    command.set_defaults(run=run)
    return command


def add_config(command: argparse.ArgumentParser, optional: bool = False) -> None:
    """A configuration, and values that differ from it."""
    command.add_argument(
        "config",
        metavar="CONFIG",
        nargs="?" if optional else None,
        help="a name in examples/embodiment/config, or a YAML file",
    )
    command.add_argument(
        "overrides", metavar="key=value", nargs="*", help="values that differ from the file"
    )
