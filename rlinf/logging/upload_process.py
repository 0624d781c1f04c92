"""The child process of `uploads.Uploader`: hands `metrics.jsonl` to wandb or swanlab.

Standard input: the job as one JSON line, and at the end `completed` or `failed`; an input that
ends without either means that the run died. Standard output: one JSON message per line (`ready`,
`refused`, `url`). What the libraries print goes to standard error, the service's log file.
"""

from __future__ import annotations

import json
import netrc
import os
import select
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO
from urllib.parse import urlsplit

from rlinf.errors import UserError
from rlinf.logging.uploads import FINISH_TIMEOUT_S, REFUSED, UploadJob
from rlinf.metrics.names import with_aliases

POLL_INTERVAL_S = 0.25


class Session(Protocol):
    """An open run of a service."""

    url: str  # of the run's page; empty without one

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Queue the values of one step."""

    def finish(self, completed: bool) -> None:
        """Upload the rest and close."""


class WandbSession:
    """wandb; `WANDB_MODE`, `WANDB_API_KEY` and its settings files count as usual."""

    def __init__(self, job: UploadJob) -> None:
        import wandb

        self._run = wandb.init(
            project=job.project,
            name=job.experiment,
            id=job.run_id,
            resume="allow",
            dir=str(Path(job.folder).parent),  # wandb adds its own name
            config=job.config,
            settings=wandb.Settings(
                console="off", silent=True, finish_timeout=FINISH_TIMEOUT_S * 0.8
            ),
        )
        self.url = self._run.url or ""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def finish(self, completed: bool) -> None:
        self._run.finish(exit_code=0 if completed else 1)


class SwanlabSession:
    """swanlab; `SWANLAB_MODE`, `SWANLAB_API_KEY` and its settings files count as usual."""

    def __init__(self, job: UploadJob) -> None:
        import swanlab

        settings = swanlab.Settings(interactive=False, terminal={"proxy_type": "none"})
        # Only the cloud has earlier runs and pages: elsewhere a resumed run is a new local one.
        online = settings.mode == "online"
        resume: dict[str, Any] = {"id": job.run_id, "resume": "allow"} if online else {}
        self._run = swanlab.init(
            project=job.project,
            name=job.experiment,
            log_dir=job.folder,
            config=job.config,
            settings=settings,
            **resume,
        )
        self.url = self._run.url if online else ""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def finish(self, completed: bool) -> None:
        self._run.finish(state="success" if completed else "crashed")


def check_wandb() -> None:
    """Refuse online use without credentials; looks at local settings only."""
    import wandb

    settings = wandb.setup().settings
    if settings.mode not in ("online", "shared"):
        return
    # wandb.login() would ask the server, which a dead network turns into a wait.
    stored = settings.api_key or settings.identity_token_file or _in_netrc(settings.base_url)
    if not stored:
        raise UserError(
            "runner.logger.logger_backends contains wandb, and wandb has no API key",
            "run `wandb login`, set WANDB_API_KEY, or set WANDB_MODE=offline",
        )


def _in_netrc(url: str) -> bool:
    """The user's netrc file, where `wandb login` leaves the key, has one for the server.

    A key of W&B's public server counts too: other addresses of that server accept it.
    """
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        entries = netrc.netrc(path)
    except (OSError, netrc.NetrcParseError):
        return False
    return any(entries.authenticators(host) for host in (urlsplit(url).netloc, "api.wandb.ai"))


def check_swanlab() -> None:
    """Refuse online use without credentials; looks at local settings only."""
    import swanlab

    settings = swanlab.Settings(interactive=False)
    if settings.mode == "online" and settings.api_key is None:
        raise UserError(
            "runner.logger.logger_backends contains swanlab, and swanlab has no API key",
            "run `swanlab login`, set SWANLAB_API_KEY, or set SWANLAB_MODE=offline",
        )


SERVICES: dict[str, tuple[Callable[[], None], Callable[[UploadJob], Session]]] = {
    "wandb": (check_wandb, WandbSession),
    "swanlab": (check_swanlab, SwanlabSession),
}


def follow(path: Path, wait_for_end: Callable[[], bool]) -> Iterator[str]:
    """Whole lines of a growing file, from its start until `wait_for_end` says True."""
    with path.open("rb") as file:
        while True:
            ended = wait_for_end()
            position = file.tell()
            for line in file:
                if not line.endswith(b"\n"):  # half-written, perhaps taken back on a full disk
                    break
                position += len(line)
                yield line.decode()
            file.seek(position)
            if ended:
                return


def upload(session: Session, lines: Iterator[str]) -> None:
    """Hand every record on, each metric under all its names.

    Null, the NaN of JSON, is left out: to the services a gap says the same.
    """
    for line in lines:
        record = json.loads(line)
        step = record.pop("step")
        session.log(step, with_aliases({k: v for k, v in record.items() if v is not None}))


def main() -> int:
    """Serve one job; the exit code says whether the service got everything.

    With the name of a service as argument: look for its credentials alone.
    """
    messages = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the libraries print, C code included
    # Unbuffered: a line that waits in a buffer would be unseen by `select`.
    parent = os.fdopen(0, "rb", buffering=0, closefd=False)

    if sys.argv[1:]:
        return _check(sys.argv[1], messages)
    job = UploadJob(**json.loads(parent.readline()))
    refused = _check(job.service, messages)
    if refused:
        return refused
    _, open_session = SERVICES[job.service]
    session = open_session(job)
    if session.url:
        _say(messages, "url", session.url)

    def parent_spoke() -> bool:
        return bool(select.select([parent], [], [], POLL_INTERVAL_S)[0])

    upload(session, follow(Path(job.metrics_file), parent_spoke))
    session.finish(completed=parent.readline().strip() == b"completed")
    return 0


def _check(service: str, messages: TextIO) -> int:
    check, _ = SERVICES[service]
    try:
        check()
    except UserError as error:
        _say(messages, "refused", error.message, error.fix)
        return REFUSED
    _say(messages, "ready")
    return 0


def _say(messages: TextIO, kind: str, text: str = "", fix: str = "") -> None:
    messages.write(json.dumps({"kind": kind, "text": text, "fix": fix}) + "\n")


if __name__ == "__main__":
    sys.exit(main())
