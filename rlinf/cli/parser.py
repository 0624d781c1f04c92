"""Words of the command line: the subcommands, and the exit codes of all."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rlinf import __version__
from rlinf.cli import convert, machine, policies, reproduce, runs, servers

_EXIT_CODES = (
    "exit codes: 0 done, 1 a worker failed, 2 something to correct in command, configuration or "
    "machine, 3 the simulator keeps failing, 4 numbers that are not finite, 5 a result that is not "
    "reproduced, 129, 130 and 143 ended by a signal"
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; overrides may stand before and after an option."""
    parser = make_parser()
    arguments, more = parser.parse_known_args(argv)
    if more and (not hasattr(arguments, "overrides") or any(w.startswith("-") for w in more)):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if more:
        arguments.overrides = [*arguments.overrides, *more]
    return arguments


def make_parser() -> argparse.ArgumentParser:
    """All subcommands with their options."""
    parser = argparse.ArgumentParser(
        prog="rlinf",
        description="Reinforcement learning of vision-language-action policies in simulators.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"rlinf {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    runs.add(commands)
    machine.add_doctor(commands)
    reproduce.add(commands)
    machine.add_selftest(commands)
    machine.add_tune(commands)
    servers.add_serve(commands)
    machine.add_assets(commands)
    policies.add_export(commands)
    servers.add_watch(commands)
    policies.add_push(commands)
    policies.add_download(commands)
    convert.add(commands)
    return parser
