"""How a run begins: its configuration is loaded and shown, and its folder is its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rlinf.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import RenderableType

    from rlinf.config.load import Loaded
    from rlinf.config.schema import Config


def prepare_imports() -> None:
    """Settings of torch and Ray, which read them when they are imported."""
    from rlinf.config.process_environment import BEFORE_RAY, WAITING

    for name, value in {**WAITING, **BEFORE_RAY}.items():
        os.environ.setdefault(name, value)


@contextmanager
def begun(
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

    prepare_imports()
    reserved = Reservation()
    try:
        loaded = _load_to_run(name, overrides, purpose, reserved.take)
        refuse(loaded.config)
    except BaseException:
        reserved.give_up()
        raise
    folder = loaded.config.runner.logger.run_dir
    again = "make room there; runner.resume_dir=auto goes on from what is complete"
    with refusals_told("what the run writes", folder, again, FULL), run_folder(loaded.config):
        (folder / "plan.txt").write_text(_plan(loaded, purpose), encoding="utf-8")
        yield loaded


def refuse_to_resume(config: Config, imitates: bool = False) -> None:
    """Raises UserError where a run has begun in the folder with other settings."""
    from rlinf.runners.resuming import changes_since_checkpoint

    changes_since_checkpoint(config, imitates)


def load_and_show(
    name: str,
    overrides: Sequence[str],
    purpose: str = "",
    take: Callable[[Path], bool] = lambda folder: True,
) -> Loaded:
    """Loads a configuration and prints its plan."""
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

    loaded = load_and_show(name, overrides, purpose, take)
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
def run_folder(config: Config) -> Iterator[None]:
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
