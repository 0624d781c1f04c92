"""The Ray that a run starts for itself on this machine, and starts again where it ends."""

from __future__ import annotations

import gc
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import ray
from ray._private import ray_constants, ray_logging, utils
from ray.job_config import JobConfig

from rlinf.cluster import folders, limits, token
from rlinf.cluster.remover import PrivateFolder
from rlinf.config.schema import Config
from rlinf.errors import UserError, WorkerFailed
from rlinf.signals import kept_from_children

_log = logging.getLogger(__name__)
START_ATTEMPTS = 3
LOOPBACK = "127.0.0.1"
# Python that says less or checks less is for the user's process: Ray's do not start with it.
_NOT_FOR_RAY = ("PYTHONOPTIMIZE",)


class SafeJob(JobConfig):
    """Workers find modules where Python does, not in the folder that the run is started in."""

    def _serialize(self) -> str:
        self._py_driver_sys_path.clear()
        serialized: str = super()._serialize()
        return serialized


class LocalRay:
    """Ray on this machine; no other machine reaches it unless the run has several nodes."""

    def __init__(self, config: Config) -> None:
        self.alone = config.cluster.num_nodes == 1
        self._folder: PrivateFolder | None = None
        self._refused = False
        self._own_token = self.alone and not os.environ.get(token.VALUE)
        if config.cluster.ray_port is not None:
            os.environ["RAY_GCS_SERVER_PORT"] = str(config.cluster.ray_port)

    def start(self) -> None:
        """Starts it, with a few more tries where the machine is too busy.

        Raises:
            UserError: something on this machine keeps it from starting.
            WorkerFailed: the machine is overloaded.
        """
        limits.check()
        if self.alone:
            _check_loopback()
        self._folder = self._folder or PrivateFolder(folders.choose())
        token.prepare(self.alone)
        try:
            self._start_in(self._folder.path / folders.OPEN_TO_ALL)
        except (UserError, WorkerFailed):
            self._refused = True
            raise

    def _start_in(self, folder: Path) -> None:
        with _own_handler_stays(), kept_from_children():
            for attempt in range(START_ATTEMPTS):
                if self._try(folder):
                    return
                _log.warning("Ray took too long to start, attempt %d", attempt + 1)
        raise WorkerFailed(
            f"Ray did not start in {START_ATTEMPTS} attempts of up to 30 s; its processes are too "
            f"slow: this machine is overloaded. Its log files are in {_newest_logs(folder)}"
        )

    def stop(self) -> None:
        """Ends it, and has its folder removed unless log files there say why it did not start."""
        shut_down()
        if self._folder is not None:
            logs = _newest_logs(self._folder.path / folders.OPEN_TO_ALL)
            self._folder.close(keep=self._refused and logs.exists())
        if self._own_token:
            token.forget()

    def restart(self) -> None:
        """Ends what is left of it and starts it anew; all its processes are gone then."""
        with _own_handler_stays():
            _end()
            self.start()

    def _try(self, folder: Path) -> bool:
        """Whether it started; it did not where its processes are too slow."""
        try:
            with (
                _bound_to_loopback(self.alone),
                _environment_for_ray(),
                _commands_a_raylet_can_read(),
            ):
                ray.init(
                    address="local",
                    num_cpus=0,  # ours need none; for each it has, Ray starts an idle process
                    include_dashboard=False,
                    log_to_driver=False,  # workers write their own log files
                    logging_level=logging.ERROR,
                    job_config=SafeJob(),
                    _node_ip_address=LOOPBACK if self.alone else None,
                    _temp_dir=str(folder),
                    _plasma_directory=folders.plasma_folder(str(folder)),
                )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _not_started(str(error), folder) from error
        except Exception as error:  # Ray raises this very class when its daemons take over 30 s
            if "timed out during startup" not in str(error):
                raise
            alive = limits.daemons_alive()
            _end()
            _kill_daemons(folder)
            if not alive and not _gave_up_waiting(folder):
                raise _not_started("its processes ended while they started", folder) from error
            return False
        # What it says of its processes is in its log files; `health.check` reports their end.
        ray_logging.global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")
        return True


def _not_started(message: str, folder: Path) -> UserError:
    logs = _newest_logs(folder)
    what, fix = limits.explanation() or ("", f"its log files in {logs} may say why")
    said = f"Ray does not start on this machine: {message}" + (f". {what}" if what else "")
    return UserError(said, fix if what or logs.exists() else "")


@contextmanager
def _commands_a_raylet_can_read() -> Iterator[None]:
    """Ray writes the commands of its workers as Windows wants them, and its raylet reads them as
    POSIX does. The two differ in quotes and backslashes: a raylet of such a path never starts.
    """
    if not set(sys.executable) & set("'\"\\"):
        yield
        return
    original = subprocess.list2cmdline
    subprocess.list2cmdline = lambda seq: shlex.join(map(os.fsdecode, seq))
    try:
        yield
    finally:
        subprocess.list2cmdline = original


@contextmanager
def _bound_to_loopback(alone: bool) -> Iterator[None]:
    """Ray replaces 127.0.0.1 by an address that others reach, unless it has no clusters at all."""
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and not alone
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _own_handler_stays() -> Iterator[None]:
    """Ray sets a handler of SIGTERM when it starts; a run that has one keeps it."""
    before = utils.set_sigterm_handler
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = before
        take_back_sigterm()


def shut_down() -> None:
    """`ray.shutdown`, without garbage collection meanwhile.

    If a reference to an object of Ray ends in another thread while Ray's native part does, that
    part ends the process: without a word, with exit code 1. A collection does so in any thread.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        if collects:
            gc.enable()


def take_back_sigterm() -> None:
    """Puts Python's handler in the place of that of Ray's native part, which calls it but aborts
    the process three seconds later, whatever is being saved then.
    """
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))


def _end() -> None:
    """Ends what is left of Ray, whose native part takes away the handler of SIGTERM with it."""
    handler = signal.getsignal(signal.SIGTERM)
    shut_down()
    signal.signal(signal.SIGTERM, handler)


@contextmanager
def _environment_for_ray() -> Iterator[None]:
    taken = {name: os.environ.pop(name) for name in _NOT_FOR_RAY if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(taken)


def _check_loopback() -> None:
    """Refuses a machine whose processes cannot talk to each other; Ray would wait for ever."""
    try:
        with socket.create_server((LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        raise UserError(
            f"the processes of this machine cannot reach each other at {LOOPBACK}: {error}",
            "bring the loopback interface up: ip link set lo up",
        ) from error


def _kill_daemons(folder: Path) -> None:
    """Kills what an attempt started: Ray leaves it, and it would slow the next attempt down."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if f"{folder}/" in " ".join(child.cmdline()):
                child.kill()


def _gave_up_waiting(folder: Path) -> bool:
    """Whether a raylet ended because its helpers were not up within 15 s, on a busy machine."""
    try:
        said = (_newest_logs(folder) / "raylet.out").read_text(errors="replace")
    except OSError:
        return False
    return "Timed out waiting for file" in said


def _newest_logs(folder: Path) -> Path:
    """The log files of the Ray that was started last."""
    return folder / "session_latest" / "logs"
