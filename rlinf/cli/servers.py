"""`rlinf serve` and `rlinf watch`."""

from __future__ import annotations

import argparse
import os

from rlinf.cli.begin import prepare_imports
from rlinf.cli.words import Commands, subcommand


def add_serve(commands: Commands) -> None:
    """`rlinf serve`."""
    command = subcommand(
        commands,
        "serve",
        _serve,
        "answer robots and benchmarks that ask a policy for actions over the network",
    )
    command.add_argument(
        "checkpoint", metavar="CKPT", help="a run, RUN/checkpoints/global_step_N, or an export"
    )
    command.add_argument(
        "overrides", metavar="key=value", nargs="*", help="values that differ from --config"
    )
    command.add_argument(
        "--config",
        metavar="CONFIG",
        help="whose environment a policy folder acts for that does not say so",
    )
    command.add_argument("--host", default="127.0.0.1", help="address; 0.0.0.0: every network")
    command.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    command.add_argument(
        "--token", help="API key of clients; the default is a new one, none on loopback"
    )
    command.add_argument(
        "--sample", action="store_true", help="draw actions as in training, not as in evaluation"
    )
    command.add_argument(
        "--max-batch", type=int, default=16, metavar="N", help="clients answered in one pass"
    )
    command.add_argument(
        "--camera",
        metavar="VIEW=NAME",
        action="append",
        default=[],
        help="what clients call the picture of a view; once for each view that is called otherwise",
    )


def _serve(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    prepare_imports()
    from rlinf.serving.command import serve

    return serve(
        Path(arguments.checkpoint),
        arguments.config,
        arguments.overrides,
        arguments.host,
        arguments.port,
        arguments.token or os.environ.get("RLINF_SERVE_TOKEN"),
        arguments.sample,
        arguments.max_batch,
        arguments.camera,
        lambda line: print(line, flush=True),
    )


def add_watch(commands: Commands) -> None:
    """`rlinf watch`."""
    command = subcommand(
        commands, "watch", _watch, "show runs on a page in the browser while they go on"
    )
    command.add_argument(
        "folder",
        metavar="RUN|FOLDER",
        nargs="?",
        help="folder of a run, or one with runs in it; the default is ./logs",
    )
    command.add_argument(
        "--port",
        type=int,
        help="port on this machine alone (127.0.0.1); the default is 8420, or the next free one",
    )


def _watch(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from rlinf.config.run_folder import LOG_ROOT
    from rlinf.logging.watch import watch

    folder = Path(arguments.folder).expanduser() if arguments.folder else LOG_ROOT
    watch(folder, arguments.port, lambda line: print(line, flush=True))
    return 0
