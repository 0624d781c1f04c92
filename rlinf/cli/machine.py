"""`rlinf doctor`, `selftest`, `tune` and `assets`: what concerns this machine."""

from __future__ import annotations

import argparse

from rlinf.cli.begin import prepare_imports
from rlinf.cli.words import Commands, add_config, subcommand
from rlinf.registry import assets, resolve


def add_doctor(commands: Commands) -> None:
    """`rlinf doctor`."""
    subcommand(
        commands, "doctor", _doctor, "examine this machine: GPUs, memory, and which renderers draw"
    )


def _doctor(arguments: argparse.Namespace) -> int:
    from rlinf.runners.doctor import doctor

    return doctor(lambda line: print(line, flush=True))


def add_selftest(commands: Commands) -> None:
    """`rlinf selftest`."""
    command = subcommand(
        commands,
        "selftest",
        _selftest,
        "check what this machine computes, against recorded numbers, and how fast",
    )
    command.add_argument(
        "--full", action="store_true", help="more checks and larger sizes; takes much longer"
    )
    command.add_argument(
        "--only", metavar="NAME", nargs="+", default=[], help="checks whose names begin so"
    )
    command.add_argument(
        "--output", metavar="DIR", help="folder of the results; the default is a new one in logs/"
    )


def _selftest(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from rlinf.selftest.run import selftest

    prepare_imports()
    folder = Path(arguments.output).expanduser() if arguments.output else None
    return selftest(arguments.full, arguments.only, folder, lambda line: print(line, flush=True))


def add_tune(commands: Commands) -> None:
    """`rlinf tune`."""
    command = subcommand(
        commands,
        "tune",
        _tune,
        "measure a configuration for a minute or two and write faster settings for it",
    )
    add_config(command)
    command.add_argument(
        "--output", metavar="FILE.yaml", help="file to write; the default is CONFIG-tuned.yaml"
    )


def _tune(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    prepare_imports()
    from rlinf.tuning.tune import tune

    output = Path(arguments.output).expanduser() if arguments.output else None
    return tune(arguments.config, arguments.overrides, output)


def add_assets(commands: Commands) -> None:
    """`rlinf assets download`."""
    description = "fetch files that simulators need, from their official sources"
    command = commands.add_parser("assets", help=description, description=description)
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    download = actions.add_parser("download", help=description, description=description)
    download.set_defaults(run=_download_assets)
    download.add_argument("group", choices=tuple(assets()), help="simulator")
    download.add_argument(
        "--use-mirror",
        action="store_true",
        help="fetch from mirrors for mainland China; HF_ENDPOINT names another one",
    )
    download.add_argument(
        "--accept-license", action="store_true", help="accept the licence of the assets"
    )


def _download_assets(arguments: argparse.Namespace) -> int:
    from rlinf.assets.download import download, require_no_licence

    wanted = resolve(assets(), arguments.group)()
    for asset in wanted:  # all of them before the first is fetched
        if not arguments.accept_license:
            require_no_licence(asset)
    for asset in wanted:
        download(asset, arguments.use_mirror, print, arguments.accept_license)
    return 0
