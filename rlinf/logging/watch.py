"""`rlinf watch`: a page about runs, on this machine alone.

    GET /                             the page; it asks for what follows
    GET /api/runs                     the runs there are, the newest first
    GET /api/runs/ID?since=POSITION   a run, or what is new of it
    GET /api/runs/ID/PATH.mp4         one of its videos

Nothing is written, and no path of a request is opened: a run is looked up by its number, a video
in the list of those there are. Only requests to `localhost` are answered, so that a page of
another site cannot read runs through a name of its own that leads here (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from werkzeug.exceptions import HTTPException, NotFound, SecurityError
from werkzeug.routing import Map, Rule
from werkzeug.sansio.utils import host_is_trusted
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response

from rlinf.errors import UserError
from rlinf.logging.report import page, scripts
from rlinf.logging.run_reader import (
    CONFIG_FILE,
    EVALUATION,
    LAST_STEP,
    TRAINING,
    Position,
    RunReader,
    flat,
    read_config,
    summary,
    values_of,
    video_files,
)
from rlinf.logging.writers import METRICS_FILE, parse_record

ADDRESS = "127.0.0.1"
PORT, PORTS_TRIED = 8420, 20
TRUSTED = ("127.0.0.1", "localhost")
DEPTH = 3  # folders below the one that was named in which runs are looked for
MOST_RUNS = 500  # in the list
OPEN_READERS = 16  # runs whose curves are kept in memory
TAIL_BYTES = 1 << 16  # of metrics.jsonl, for a line of the list


class Runs:
    """The runs below a folder.

    Args:
        folder: of a run, whose neighbours can be compared with it, or one with runs in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.first = identity(self.folder) if is_run(self.folder) else None
        self._readers: OrderedDict[str, tuple[RunReader, threading.Lock]] = OrderedDict()
        self._known: dict[str, Path] = {}
        self._lock = threading.Lock()

    def folders(self) -> dict[str, Path]:
        """Number and folder of every run, the newest first."""
        found = (
            _runs_below(self.folder.parent, 1) if self.first else _runs_below(self.folder, DEPTH)
        )
        newest = sorted(found, key=_changed, reverse=True)[:MOST_RUNS]
        if self.first and self.folder not in newest:
            newest = [self.folder, *newest]
        self._known = {identity(run): run for run in newest}
        return self._known

    def folder_of(self, number: str) -> Path | None:
        """The folder of a run; None of a number that stands for none."""
        return self._known.get(number) or self.folders().get(number)

    def listing(self) -> dict[str, Any]:
        """The list of the runs, and which one is to be shown."""
        runs = [{"id": number, **_line(run)} for number, run in self.folders().items()]
        return {"folder": str(self.folder), "first": self.first, "runs": runs}

    def view(self, number: str, since: Position | None) -> dict[str, Any] | None:
        """A run, from a position on; None if there is no such run."""
        folder = self.folder_of(number)
        if folder is None:
            return None
        with self._lock:
            reader, lock = self._readers.setdefault(number, (RunReader(folder), threading.Lock()))
            self._readers.move_to_end(number)
            while len(self._readers) > OPEN_READERS:
                self._readers.popitem(last=False)
        with lock:
            reader.look()
            return {"id": number, **reader.view(since)}


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / METRICS_FILE).is_file() or (folder / CONFIG_FILE).is_file()


def identity(folder: Path) -> str:
    """A number for a folder that says nothing of its path."""
    return hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        inside = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    except OSError:
        return
    for path in inside:
        if is_run(path):
            yield path
        elif depth > 1 and not path.is_symlink():
            yield from _runs_below(path, depth - 1)


def _changed(folder: Path) -> float:
    times = [0.0]
    for name in (METRICS_FILE, CONFIG_FILE):
        try:
            times.append((folder / name).stat().st_mtime)
        except OSError:
            continue
    return max(times)


def _line(folder: Path) -> dict[str, Any]:
    """A run in the list: the last of what the end of its metrics says."""
    config = flat(read_config(folder / CONFIG_FILE))
    last: dict[str, Any] = {}
    for record in filter(None, map(parse_record, _end_of(folder / METRICS_FILE))):
        last |= {name: value for name, value in values_of(record).items() if value is not None}
        if isinstance(step := record["step"], int) and 0 <= step <= LAST_STEP:
            last["step"] = step
    keys = {"step": "step", "training": TRAINING, "success": EVALUATION}
    keys |= {end: f"{EVALUATION}_{end}" for end in ("low", "high")}
    return {**summary(folder, config), **{name: last.get(key) for name, key in keys.items()}}


def _end_of(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return file.read().splitlines(keepends=True)
    except OSError:
        return []


class Site:
    """The WSGI application."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self._page = page(None).encode()
        own = " ".join(f"'sha256-{_sum(text)}'" for text in scripts())
        self._policy = (
            f"default-src 'none'; script-src {own}; style-src 'unsafe-inline'; img-src data:; "
            "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        self._routes = Map(
            [
                Rule("/", endpoint=self._show_page, methods=["GET"]),
                Rule("/api/runs", endpoint=self._list, methods=["GET"]),
                Rule("/api/runs/<number>", endpoint=self._run, methods=["GET"]),
                Rule("/api/runs/<number>/<path:path>", endpoint=self._video, methods=["GET"]),
            ]
        )

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        """Answers one request."""
        request = Request(environ)
        response = self.answer(request)
        response.headers |= {
            "Content-Security-Policy": self._policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-cache",
        }
        return response(environ, start)

    def answer(self, request: Request) -> Response:
        """The answer to a request, whatever it asks for."""
        try:
            if not host_is_trusted(request.environ.get("HTTP_HOST"), TRUSTED):
                raise SecurityError(f"ask for http://{ADDRESS} or http://localhost")
            endpoint, values = self._routes.bind_to_environ(request.environ).match()
            response: Response = endpoint(request, **values)
            return response
        except HTTPException as error:
            return Response(f"{error.description}\n", error.code, mimetype="text/plain")

    def _show_page(self, request: Request) -> Response:
        return self._unless_known(request, Response(self._page, mimetype="text/html"))

    def _list(self, request: Request) -> Response:
        return self._json(request, self.runs.listing())

    def _run(self, request: Request, number: str) -> Response:
        view = self.runs.view(number, Position.parse(request.args.get("since", "")))
        if view is None:
            raise NotFound("there is no such run")
        return self._json(request, view)

    def _video(self, request: Request, number: str, path: str) -> Response:
        folder = self.runs.folder_of(number)
        for file in video_files(folder) if folder else ():
            if folder and file.relative_to(folder).as_posix() == path:
                return send_file(file, request.environ, mimetype="video/mp4", conditional=True)
        raise NotFound("there is no such video")

    def _json(self, request: Request, content: dict[str, Any]) -> Response:
        text = json.dumps(content, separators=(",", ":"), default=str)
        return self._unless_known(request, Response(text, mimetype="application/json"))

    @staticmethod
    def _unless_known(request: Request, response: Response) -> Response:
        """Without its content, where the browser has it already."""
        response.add_etag()
        return response.make_conditional(request)


def _sum(text: str) -> str:
    return b64encode(hashlib.sha256(text.encode()).digest()).decode()


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_: object) -> None:
        pass


def server(runs: Runs, port: int | None) -> BaseWSGIServer:
    """A server of the page that listens already.

    Args:
        port: 0 for any; None for the usual one, or the next that is free.

    Raises:
        UserError: the port is taken, or is none.
    """
    tried = range(PORT, PORT + PORTS_TRIED) if port is None else (port,)
    for number in tried:
        # Werkzeug ends the process where a port is taken; a socket of ours raises.
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((ADDRESS, number))
        except (OSError, OverflowError) as error:
            listening.close()
            reason = getattr(error, "strerror", None) or str(error)
            continue
        with listening:
            listening.listen(64)
            return make_server(
                *(ADDRESS, listening.getsockname()[1], Site(runs)),
                threaded=True,
                request_handler=_Quiet,
                fd=listening.fileno(),
            )
    shown = f"{tried[0]}" if len(tried) == 1 else f"{tried[0]} to {tried[-1]}"
    raise UserError(f"--port {shown}: {reason}", "name another one; --port 0 takes any")


def watch(folder: Path, port: int | None, say: Callable[[str], None]) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        UserError: there is no such folder, or no such port is free.
    """
    if not folder.is_dir():
        raise UserError(
            f"RUN|FOLDER = {folder}: there is no such folder",
            "name the folder of a run, or one with runs; `rlinf train quickstart` makes logs/",
        )
    runs = Runs(folder)
    with server(runs, port) as serving:
        found = len(runs.folders())
        say(f"{found} {'run' if found == 1 else 'runs'} in {runs.folder}")
        say(f"open http://{ADDRESS}:{serving.port}/ in a browser; Ctrl-C ends")
        say(f"from another machine: ssh -L {serving.port}:{ADDRESS}:{serving.port} HOST")
        serving.serve_forever()
