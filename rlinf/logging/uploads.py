"""wandb and swanlab, each in a process of its own that follows `metrics.jsonl`.

The services' libraries install signal handlers, exit hooks and prompts, capture the output, and may
wait minutes for a network. In a child process none of that touches training: the run appends to
`metrics.jsonl` and never waits, the child uploads at its own speed, and when it dies it is started
again and reads the file from the beginning (steps that a service already has, it ignores).
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlinf import installer
from rlinf.errors import UserError

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 20.0  # longest wait for the child's word on library and credentials
RETRY_INTERVAL_S = 60.0  # between two starts of a child that ends
FINISH_TIMEOUT_S = 30.0  # longest wait for the last uploads at the end of a run
_CHILD = (sys.executable, "-P", "-m", "rlinf.logging.upload_process")
REFUSED = 2  # exit code of a child whose user has to act; the reason is its last message


@dataclass(frozen=True, slots=True)
class UploadJob:
    """What the child needs to know."""

    service: str  # "wandb" or "swanlab"
    metrics_file: str  # absolute path of the `metrics.jsonl` to follow
    folder: str  # absolute path where the service keeps its local files
    project: str
    experiment: str
    run_id: str  # the same after a resume, so that the curves go on
    config: dict[str, Any]  # of the run, for the service's page


class Uploader:
    """One service of one run, seen from the training process.

    Raises `UserError` where the library or the credentials are missing.
    """

    def __init__(
        self,
        service: str,
        metrics_file: Path,
        project: str,
        experiment: str,
        config: Mapping[str, Any],
    ) -> None:
        _require(service)
        folder = metrics_file.parent.absolute() / service
        folder.mkdir(parents=True, exist_ok=True)
        self._job = UploadJob(
            service=service,
            metrics_file=str(metrics_file.absolute()),
            folder=str(folder),
            project=project,
            experiment=experiment,
            run_id=_stored_run_id(folder / "run_id"),
            config=dict(config),
        )
        self._warned = False
        self._start()
        self._verdict.wait(START_TIMEOUT_S)
        if self._refusal is not None:
            self._process.wait()
            raise self._refusal

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """The child reads the values from the file; here only its death is noticed."""
        del step, metrics
        if self._process.poll() is None:
            return
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s stopped (see %s); metrics.jsonl goes on, trying again every %.0f s",
                self._job.service,
                self._log_path,
                RETRY_INTERVAL_S,
            )
        if time.monotonic() - self._started >= RETRY_INTERVAL_S:
            self._release()
            self._start()

    def close(self, completed: bool = True) -> None:
        """Let the child finish, at most `FINISH_TIMEOUT_S` long.

        Args:
            completed: False marks the run as failed where the service knows such a state.
        """
        if self._process.poll() is not None:
            self._release()
            self._start()
        try:
            self._send("completed" if completed else "failed")
            code: int | None = self._process.wait(FINISH_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if code != 0:
            logger.warning(
                "%s did not get all metrics (see %s); metrics.jsonl is complete",
                self._job.service,
                self._log_path,
            )
        self._release()

    @property
    def _log_path(self) -> Path:
        return Path(self._job.folder) / "upload.log"

    def _start(self) -> None:
        self._started = time.monotonic()
        self._verdict = threading.Event()
        self._refusal: UserError | None = None
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                _CHILD,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for the run, which then closes the child
            )
        self._reader = threading.Thread(target=self._read_messages, daemon=True)
        self._reader.start()
        self._send(json.dumps(asdict(self._job)))

    def _send(self, line: str) -> None:
        """One line to the child. A dead child is noticed by its exit code, not here."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(line + "\n")
            stdin.flush()
        except BrokenPipeError:
            logger.debug("%s ended before it got this message: %s", self._job.service, line[:40])

    def _release(self) -> None:
        """Give back the pipes of an ended child."""
        self._reader.join()
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.close()
        except BrokenPipeError:
            logger.debug("%s ended with its job unread", self._job.service)
        stdout.close()

    def _read_messages(self) -> None:
        """Runs in a thread until the child closes its output."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if message["kind"] == "refused":
                self._refusal = UserError(message["text"], message["fix"])
            elif message["kind"] == "url":
                logger.info("%s: %s", self._job.service, message["text"])
            self._verdict.set()
        self._verdict.set()


def check_service(service: str) -> None:
    """Looks for library and credentials, before anything of a run begins.

    Raises:
        UserError: one of them is missing.
    """
    _require(service)
    try:
        asked = subprocess.run(
            [*_CHILD, service],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            timeout=START_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return  # the child of the run says it, later
    for line in asked.stdout.splitlines():
        message = json.loads(line)
        if message["kind"] == "refused":
            raise UserError(message["text"], message["fix"])


def _require(service: str) -> None:
    if importlib.util.find_spec(service) is None:
        raise UserError(
            f"runner.logger.logger_backends contains {service}: the library is not installed",
            f"run: {installer.command(f'--extra {service}', service)}",
        )


def _stored_run_id(path: Path) -> str:
    """The run's name towards the service, made once per run folder."""
    if not path.exists():
        path.write_text(secrets.token_hex(8))
    return path.read_text().strip()
