"""`rlinf train`, `eval`, `sft`, `collect` and `check`: what takes a configuration and runs it."""

from __future__ import annotations

import argparse
from functools import partial

from rlinf.cli.begin import begun, load_and_show, refuse_to_resume
from rlinf.cli.words import Commands, add_config, subcommand
from rlinf.errors import UserError
from rlinf.registry import benchmarks, resolve


def add(commands: Commands) -> None:
    """All of them."""
    for name, run, description in (
        ("train", _train, "train a policy"),
        ("eval", _evaluate, "evaluate a policy: every (task, trial) once; or compare two"),
        ("sft", _sft, "train a policy on demonstrations, by imitation"),
        ("collect", _collect, "write demonstrations of an expert or a policy as a data set"),
        ("check", _check, "check a configuration and print its plan; starts nothing"),
    ):
        command = subcommand(commands, name, run, description)
        add_config(command, optional=name in ("check", "eval"))
        if name == "eval":
            command.add_argument(
                "--benchmark",
                choices=tuple(benchmarks()),
                help="run all sets of a benchmark instead of env.eval alone, with one table",
            )
            _add_results_options(command)
        if name == "check":
            command.add_argument(
                "--schema",
                action="store_true",
                help="print the JSON schema of the configuration, for editors",
            )


def _add_results_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="compare two finished evaluations from equal starts: result files, or folders of runs",
    )
    command.add_argument(
        "--merge",
        nargs="+",
        metavar="SHARD",
        help="put the shards of an evaluation together (env.eval.num_shards)",
    )
    command.add_argument(
        "--output",
        metavar="PATH",
        help="with --merge the new folder of the whole; with --compare a Markdown file",
    )


def _check(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        import json

        from rlinf.config.schema import Config

        print(json.dumps(Config.model_json_schema(), indent=2))
        return 0
    if arguments.config is None:
        raise UserError("no configuration named", "write for example: rlinf check quickstart")
    from rlinf.config.preflight import lacking, missing_assets

    loaded = load_and_show(arguments.config, arguments.overrides)
    print("The configuration is valid.")
    for problem in [*lacking(loaded.config), *missing_assets(loaded.config)]:
        print(f"Before it can run on this machine: {problem.fix}\n  {problem.message}")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    with begun(arguments.config, arguments.overrides, refuse=refuse_to_resume) as loaded:
        from rlinf.runners.train import train

        return train(loaded.config, loaded.plan)


def _evaluate(arguments: argparse.Namespace) -> int:
    if arguments.compare or arguments.merge:
        return _use_results(arguments)
    if arguments.output is not None:
        raise UserError("--output goes with --compare or --merge", "remove it")
    if arguments.config is None:
        raise UserError("no configuration named", "write for example: rlinf eval quickstart")
    overrides = ["runner.only_eval=true", *arguments.overrides]
    with begun(arguments.config, overrides) as loaded:
        if arguments.benchmark is not None:
            from rlinf.runners.benchmark import run_benchmark

            benchmark = resolve(benchmarks(), arguments.benchmark)()
            return run_benchmark(loaded.config, loaded.plan, benchmark)
        from rlinf.runners.evaluate import evaluate

        return evaluate(loaded.config, loaded.plan)


def _use_results(arguments: argparse.Namespace) -> int:
    """Compares or merges finished evaluations; nothing is run."""
    from pathlib import Path

    from rlinf.runners.compare import compare, merge

    asked = ["--compare"] * bool(arguments.compare) + ["--merge"] * bool(arguments.merge)
    more = ["--benchmark"] * bool(arguments.benchmark) + [arguments.config] * bool(arguments.config)
    if len(asked) > 1 or more:
        raise UserError(
            f"{asked[0]} stands alone, without {' and '.join([*asked[1:], *more])}",
            "it takes finished evaluations: result files, or folders of runs",
        )
    output = Path(arguments.output).expanduser() if arguments.output else None
    given = [Path(name).expanduser() for name in arguments.compare or arguments.merge]
    if arguments.compare:
        compare(given[0], given[1], output, print)
    elif output is None:
        raise UserError("--merge needs --output", "name a folder that does not exist yet")
    else:
        print(f"results: {merge(given, output)}")
    return 0


def _sft(arguments: argparse.Namespace) -> int:
    refuse = partial(refuse_to_resume, imitates=True)
    with begun(arguments.config, arguments.overrides, "sft", refuse) as loaded:
        from rlinf.runners.sft import sft

        return sft(loaded.config, loaded.plan)


def _collect(arguments: argparse.Namespace) -> int:
    with begun(arguments.config, arguments.overrides, "collect") as loaded:
        from rlinf.runners.collect import collect

        return collect(loaded.config, loaded.plan)
