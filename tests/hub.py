"""A hub for models and data sets on this machine; it answers what the clients of both hubs ask."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps
from urllib.parse import parse_qs, unquote, urlsplit

_COMMIT = "a" * 40


class Hub(ThreadingHTTPServer):
    """Serves `files` as the one repository there is, or answers with a status.

    Attributes:
        files: path -> content.
        status: of every answer; 200 serves the files.
        code: the header that names an error.
        cut: the connection ends in the middle of each file.
        asked: method and path of every request.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files = files
        self.asked: list[str] = []
        self.behave()

    def behave(self, status: int = 200, code: str = "", cut: bool = False) -> None:
        """From now on; without arguments it serves."""
        self.status, self.code, self.cut = status, code, cut
        self.asked.clear()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub(files: Mapping[str, bytes]) -> Iterator[Hub]:
    """A hub that serves until the end of the block."""
    with Hub(files) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.asked.append(f"{self.command} {self.path}")
        if hub.status != 200:
            # The second header asks clients to try again at once.
            self._send(b"{}", hub.status, {"X-Error-Code": hub.code, "Retry-After": "0"})
        elif "/resolve/" in path:
            self._send_file(path.split("/resolve/")[1].partition("/")[2])
        elif "/tree/" in path:
            self._send_json([self._entry(name) for name in hub.files])
        elif path.startswith("/api/") and "/revision/" in path:
            names = [{"rfilename": name} for name in hub.files]
            self._send_json({"id": "owner/name", "sha": _COMMIT, "siblings": names})
        elif path.endswith("/repo/files"):  # ModelScope
            self._send_json({"Code": 200, "Data": {"Files": list(map(self._file, hub.files))}})
        elif path.endswith("/repo"):
            self._send_file(parse_qs(urlsplit(self.path).query)["FilePath"][0])
        else:
            self._send(b"{}", 404, {})

    def _entry(self, name: str) -> dict[str, object]:
        content = self.server.files[name]
        return {
            "type": "file",
            "path": name,
            "size": len(content),
            "oid": sha1(content).hexdigest(),
        }

    def _file(self, name: str) -> dict[str, object]:
        size = len(self.server.files[name])
        return {"Type": "blob", "Path": name, "Name": name, "Size": size, "Revision": _COMMIT}

    def _send_file(self, name: str) -> None:
        content = self.server.files[name]
        self._send(
            content,
            200,
            {"ETag": f'"{sha1(content).hexdigest()}"', "X-Repo-Commit": _COMMIT},
            sent=len(content) // 2 if self.server.cut else None,
        )

    def _send_json(self, content: object) -> None:
        self._send(dumps(content).encode(), 200, {"Content-Type": "application/json"})

    def _send(
        self, content: bytes, status: int, headers: Mapping[str, str], sent: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:sent])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
