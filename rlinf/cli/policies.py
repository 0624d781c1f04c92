"""`rlinf export`, `push` and `download`: policies go and come."""

from __future__ import annotations

import argparse

from rlinf.cli.words import Commands, subcommand


def add_export(commands: Commands) -> None:
    """`rlinf export`."""
    command = subcommand(
        commands, "export", _export, "write the policy of a checkpoint, adapters folded in"
    )
    command.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="RUN/checkpoints/global_step_N, or .../best"
    )
    command.add_argument("out", metavar="OUT", help="a folder that does not exist yet")
    command.add_argument(
        "--adapter", action="store_true", help="write the LoRA adapter alone, in PEFT's form"
    )


def _export(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from rlinf.runners.export import export

    export(Path(arguments.checkpoint).expanduser(), Path(arguments.out), arguments.adapter)
    print(f"policy: {arguments.out}")
    return 0


def add_push(commands: Commands) -> None:
    """`rlinf push`."""
    command = subcommand(
        commands,
        "push",
        _push,
        "publish the policy of a run on the Hugging Face hub, with a model card",
    )
    command.add_argument(
        "source",
        metavar="RUN",
        help="folder of a run, whose best checkpoint is taken, else its latest; or a checkpoint",
    )
    command.add_argument("repository", metavar="OWNER/NAME", help="made if it does not exist")
    command.add_argument(
        "--dry-run", action="store_true", help="print the files and the card; upload nothing"
    )
    command.add_argument(
        "--private", action="store_true", help="make it private; refused where it is public already"
    )
    command.add_argument(
        "--adapter", action="store_true", help="upload the LoRA adapter alone, in PEFT's form"
    )
    command.add_argument(
        "--license",
        metavar="NAME",
        help="licence of the weights, as hubs write it; the default is that of the base's card",
    )
    command.add_argument(
        "--base", metavar="OWNER/NAME", help="the model that was trained, for the card"
    )


def _push(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from rlinf.runners.push import push

    push(
        Path(arguments.source).expanduser(),
        arguments.repository,
        print,
        adapter=arguments.adapter,
        private=arguments.private,
        dry_run=arguments.dry_run,
        licence=arguments.license,
        base=arguments.base,
    )
    return 0


def add_download(commands: Commands) -> None:
    """`rlinf download`."""
    command = subcommand(commands, "download", _download, "fetch a published model by name")
    command.add_argument("name", metavar="OWNER/NAME", help="for example openvla/openvla-7b")
    command.add_argument("--to", metavar="DIR", help="folder; the default is ./NAME")
    command.add_argument("--source", choices=("hf", "modelscope"), default="hf", help="which hub")
    command.add_argument(
        "--use-mirror",
        action="store_true",
        help="fetch from the mirror for mainland China; HF_ENDPOINT names another one",
    )


def _download(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from rlinf.models.download import download

    folder = Path(arguments.to or arguments.name.rpartition("/")[2]).expanduser()
    download(arguments.name, folder, arguments.source, arguments.use_mirror)
    print(f"{arguments.name} is in {folder}")
    print(f"use it with: actor.model.model_path={folder.resolve()}")
    return 0
