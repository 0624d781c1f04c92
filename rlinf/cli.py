"""The `rlinf` command. Only what a subcommand needs is imported, and only when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, get_args

from rlinf import __version__
from rlinf.config.dialect import ConfigDialect
from rlinf.errors import (
    EnvironmentFailure,
    NotReproduced,
    NumericsError,
    UserError,
    WorkerFailed,
)
from rlinf.registry import assets, benchmarks, resolve
from rlinf.safe_path import leave_out_working_folder
from rlinf.streams import make_patient
from rlinf.wording import plural

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from rlinf.config.load import Loaded
    from rlinf.config.schema import Config
    from rlinf.results.registry import ResultRow

_EXIT_CODES = (
    "exit codes: 0 done, 1 a worker failed, 2 something to correct in command, configuration or "
    "machine, 3 the simulator keeps failing, 4 numbers that are not finite, 5 a result that is not "
    "reproduced, 129, 130 and 143 ended by a signal"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand and returns the exit code."""
    if argv is None:  # this process is the command
        _keep_assertions()
        make_patient()
    try:
        arguments = _parse(argv)
        _check_working_folder()
        if argv is None:  # this process is the command; a caller keeps its own environment
            _settle_process()
        code = int(arguments.run(arguments))
        sys.stdout.flush()  # what does not fit on a disk is noticed here
        return code
    except (UserError, EnvironmentFailure, NumericsError, NotReproduced, WorkerFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # before or after the part of a run that stops in good order
        return 130


def _keep_assertions() -> None:
    """Begins anew with `assert`, which PYTHONOPTIMIZE leaves out: Hydra's parser works in them."""
    if sys.flags.optimize and os.environ.pop("PYTHONOPTIMIZE", ""):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _check_working_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - `Path.cwd` is this
    except OSError as error:
        raise UserError(
            f"the folder that rlinf was started in is gone or closed to you: {error.strerror}",
            "cd to another one",
        ) from error


def _settle_process() -> None:
    """Where this process and all it starts find modules, and where they keep caches."""
    leave_out_working_folder()
    from rlinf.config import home

    for note in home.settle(os.environ):
        print(f"note: {note}", file=sys.stderr)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments; overrides may stand before and after an option."""
    parser = _parser()
    arguments, more = parser.parse_known_args(argv)
    if more and (not hasattr(arguments, "overrides") or any(w.startswith("-") for w in more)):
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    if more:
        arguments.overrides = [*arguments.overrides, *more]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlinf",
        description="Reinforcement learning of vision-language-action policies in simulators.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"rlinf {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, run, description in (
        ("train", _train, "train a policy"),
        ("eval", _evaluate, "evaluate a policy: every (task, trial) once; or compare two"),
        ("sft", _sft, "train a policy on demonstrations, by imitation"),
        ("collect", _collect, "write demonstrations of an expert or a policy as a data set"),
        ("check", _check, "check a configuration and print its plan; starts nothing"),
    ):
        command = commands.add_parser(name, help=description, description=description)
        command.set_defaults(run=run)
        command.add_argument(
            "config",
            metavar="CONFIG",
            nargs="?" if name in ("check", "eval") else None,
            help="a name in examples/embodiment/config, or a YAML file",
        )
        command.add_argument(
            "overrides", metavar="key=value", nargs="*", help="values that differ from the file"
        )
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
    description = "examine this machine: GPUs, memory, and which renderers draw"
    commands.add_parser("doctor", help=description, description=description).set_defaults(
        run=_doctor
    )
    _add_reproduce(commands)
    _add_selftest(commands)
    _add_tune(commands)
    _add_serve(commands)
    _add_assets_command(commands)
    _add_export_command(commands)
    _add_watch(commands)
    _add_push(commands)
    _add_download(commands)
    _add_convert(commands)
    return parser


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


def _add_reproduce(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "run a row of a table of results and compare; without one, print the table"
    command = commands.add_parser("reproduce", help=description, description=description)
    command.set_defaults(run=_reproduce)
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
    with _begun(row.config, overrides, refuse=_refuse_to_resume) as loaded:
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


def _add_selftest(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "check what this machine computes, against recorded numbers, and how fast"
    command = commands.add_parser("selftest", help=description, description=description)
    command.set_defaults(run=_selftest)
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

    _prepare_imports()
    folder = Path(arguments.output).expanduser() if arguments.output else None
    return selftest(arguments.full, arguments.only, folder, lambda line: print(line, flush=True))


def _add_tune(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "measure a configuration for a minute or two and write faster settings for it"
    command = commands.add_parser("tune", help=description, description=description)
    command.set_defaults(run=_tune)
    command.add_argument(
        "config", metavar="CONFIG", help="a name in examples/embodiment/config, or a YAML file"
    )
    command.add_argument(
        "overrides", metavar="key=value", nargs="*", help="values that differ from the file"
    )
    command.add_argument(
        "--output", metavar="FILE.yaml", help="file to write; the default is CONFIG-tuned.yaml"
    )


def _tune(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    _prepare_imports()
    from rlinf.tuning.tune import tune

    output = Path(arguments.output).expanduser() if arguments.output else None
    return tune(arguments.config, arguments.overrides, output)


def _add_serve(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "answer robots and benchmarks that ask a policy for actions over the network"
    command = commands.add_parser("serve", help=description, description=description)
    command.set_defaults(run=_serve)
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

    _prepare_imports()
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


def _add_assets_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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


def _add_export_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "write the policy of a checkpoint, adapters folded in"
    command = commands.add_parser("export", help=description, description=description)
    command.set_defaults(run=_export)
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


def _add_push(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "publish the policy of a run on the Hugging Face hub, with a model card"
    command = commands.add_parser("push", help=description, description=description)
    command.set_defaults(run=_push)
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


def _add_watch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "show runs on a page in the browser while they go on"
    command = commands.add_parser("watch", help=description, description=description)
    command.set_defaults(run=_watch)
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


def _add_download(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "fetch a published model by name"
    command = commands.add_parser("download", help=description, description=description)
    command.set_defaults(run=_download)
    command.add_argument("name", metavar="OWNER/NAME", help="for example openvla/openvla-7b")
    command.add_argument("--to", metavar="DIR", help="folder; the default is ./NAME")
    command.add_argument("--source", choices=("hf", "modelscope"), default="hf", help="which hub")
    command.add_argument(
        "--use-mirror",
        action="store_true",
        help="fetch from the mirror for mainland China; HF_ENDPOINT names another one",
    )


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    description = "turn a configuration of the published RLinf into one of this package"
    command = commands.add_parser("convert", help=description, description=description)
    command.set_defaults(run=_convert)
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
    from pathlib import Path

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


def _check(arguments: argparse.Namespace) -> int:
    if arguments.schema:
        import json

        from rlinf.config.schema import Config

        print(json.dumps(Config.model_json_schema(), indent=2))
        return 0
    if arguments.config is None:
        raise UserError("no configuration named", "write for example: rlinf check quickstart")
    from rlinf.config.preflight import lacking, missing_assets

    loaded = _load(arguments.config, arguments.overrides)
    print("The configuration is valid.")
    for problem in [*lacking(loaded.config), *missing_assets(loaded.config)]:
        print(f"Before it can run on this machine: {problem.fix}\n  {problem.message}")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    with _begun(arguments.config, arguments.overrides, refuse=_refuse_to_resume) as loaded:
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
    with _begun(arguments.config, overrides) as loaded:
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
    refuse = partial(_refuse_to_resume, imitates=True)
    with _begun(arguments.config, arguments.overrides, "sft", refuse) as loaded:
        from rlinf.runners.sft import sft

        return sft(loaded.config, loaded.plan)


def _collect(arguments: argparse.Namespace) -> int:
    with _begun(arguments.config, arguments.overrides, "collect") as loaded:
        from rlinf.runners.collect import collect

        return collect(loaded.config, loaded.plan)


def _refuse_to_resume(config: Config, imitates: bool = False) -> None:
    from rlinf.runners.resuming import changes_since_checkpoint

    changes_since_checkpoint(config, imitates)


def _download(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from rlinf.models.download import download

    folder = Path(arguments.to or arguments.name.rpartition("/")[2]).expanduser()
    download(arguments.name, folder, arguments.source, arguments.use_mirror)
    print(f"{arguments.name} is in {folder}")
    print(f"use it with: actor.model.model_path={folder.resolve()}")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from rlinf.runners.doctor import doctor

    return doctor(lambda line: print(line, flush=True))


def _prepare_imports() -> None:
    """Settings of torch and Ray, which read them when they are imported."""
    from rlinf.config.process_environment import BEFORE_RAY, WAITING

    for name, value in {**WAITING, **BEFORE_RAY}.items():
        os.environ.setdefault(name, value)


@contextmanager
def _begun(
    name: str,
    overrides: Sequence[str],
    purpose: str = "",
    refuse: Callable[[Config], None] = lambda config: None,
) -> Iterator[Loaded]:
    """A run whose folder is its own; where it must not begin, all folders stay as they were.

    Args:
        refuse: raises an error where the run must not begin.
    """
    from rlinf.config.run_folder import Reservation
    from rlinf.data.disk import FULL, refusals_told

    _prepare_imports()
    reserved = Reservation()
    try:
        loaded = _load_to_run(name, overrides, purpose, reserved.take)
        refuse(loaded.config)
    except BaseException:
        reserved.give_up()
        raise
    folder = loaded.config.runner.logger.run_dir
    again = "make room there; runner.resume_dir=auto goes on from what is complete"
    with refusals_told("what the run writes", folder, again, FULL), _run_folder(loaded.config):
        (folder / "plan.txt").write_text(_plan(loaded, purpose), encoding="utf-8")
        yield loaded


def _load(
    name: str,
    overrides: Sequence[str],
    purpose: str = "",
    take: Callable[[Path], bool] = lambda folder: True,
) -> Loaded:
    from rich.console import Console

    from rlinf.config.load import load

    loaded = load(name, overrides, purpose=purpose, take=take)
    Console(highlight=False, soft_wrap=True).print(_rendered(loaded, purpose))
    return loaded


def _rendered(loaded: Loaded, purpose: str) -> RenderableType:
    from rlinf.config import show, show_imitation

    renderers = {"sft": show_imitation.render_sft, "collect": show_imitation.render_collect}
    return renderers.get(purpose, show.render)(loaded)


def _plan(loaded: Loaded, purpose: str) -> str:
    """The plan as it was printed, without colours."""
    import io

    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=120, highlight=False, color_system=None).print(
        _rendered(loaded, purpose)
    )
    return text.getvalue()


def _load_to_run(
    name: str, overrides: Sequence[str], purpose: str, take: Callable[[Path], bool]
) -> Loaded:
    """Loads a configuration; what model and simulators need must be on this machine."""
    from rlinf.config.preflight import lacking, missing_assets
    from rlinf.config.problems import error_of

    loaded = _load(name, overrides, purpose, take)
    problems = lacking(loaded.config, purpose)
    if not purpose:  # imitation and collecting find out for themselves
        problems += missing_assets(loaded.config)
    if problems:
        raise error_of(problems, loaded.name)
    services = set(loaded.config.runner.logger.logger_backends) - {"tensorboard"}
    if services:
        from rlinf.logging.uploads import check_service

        for service in sorted(services):
            check_service(service)
    return loaded


@contextmanager
def _run_folder(config: Config) -> Iterator[None]:
    """Makes the folder of the run, writes its configuration, and keeps other runs out of it."""
    import fcntl

    from rlinf.config.run_folder import note_beginning

    folder = config.runner.logger.run_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(
            f"runner.logger.log_path: {folder} cannot be written: {error.strerror}",
            "set runner.logger.log_path to a folder you may write",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"runner.logger.log_path: another run is writing to {folder}",
                "wait for it, or choose another log_path or experiment_name",
            ) from error
        except OSError as error:
            print(
                f"warning: {folder} is on a file system without locks ({error.strerror}): "
                "a second run in the same folder is not noticed",
                file=sys.stderr,
            )
        (folder / "config.yaml").write_text(config.to_yaml())
        note_beginning(folder)
        yield
