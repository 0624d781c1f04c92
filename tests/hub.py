"""A hub for models and data sets on this machine; it answers what the clients of both hubs ask."""

from __future__ import annotations

import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from json import dumps, loads
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
        tokens: the header of every request that says who asks.
        uploaded: path -> content of what was uploaded.
        private: whether the one repository is; None until it is made.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files = files
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.uploaded: dict[str, bytes] = {}
        self.private: bool | None = None
        self.large: dict[str, bytes] = {}  # SHA-256 -> content
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


def _mode(path: str) -> dict[str, object]:
    """Weights go apart from the commit, as large files do."""
    mode = "lfs" if path.endswith(".safetensors") else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False}


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self) -> None:
        hub, path = self.server, urlsplit(self.path).path
        content = self._take()
        if hub.status != 200:
            self._send(b"{}", hub.status, {"X-Error-Code": hub.code})
        elif hub.cut:
            self.connection.close()
        elif path == "/api/repos/create":
            if hub.private is None:
                wanted = loads(content)
                hub.private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
            self._send_json({"url": f"{hub.address}/owner/name", "id": "owner/name"})
        elif path == "/api/validate-yaml":  # of a card
            self._send_json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            self._send_json({"files": [_mode(file["path"]) for file in loads(content)["files"]]})
        elif path.endswith("/info/lfs/objects/batch"):
            self._send_json(
                {"transfer": "basic", "objects": list(map(self._place, loads(content)["objects"]))}
            )
        elif "/commit/" in path:
            for line in map(loads, content.splitlines()):
                self._commit(line["key"], line["value"])
            url = f"{hub.address}/owner/name/commit/{_COMMIT}"
            self._send_json({"success": True, "commitUrl": url, "commitOid": _COMMIT})
        else:
            self._send(b"{}", 404, {})

    def do_PUT(self) -> None:
        content = self._take()
        self.server.large[sha256(content).hexdigest()] = content
        self._send(b"", 200, {})

    def _take(self) -> bytes:
        """The body of a request, which is noted."""
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.tokens.append(self.headers.get("Authorization"))
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _place(self, wanted: Mapping[str, object]) -> dict[str, object]:
        href = f"{self.server.address}/large/{wanted['oid']}"
        return {**wanted, "authenticated": True, "actions": {"upload": {"href": href}}}

    def _commit(self, kind: str, value: Mapping[str, str]) -> None:
        if kind == "file":
            self.server.uploaded[value["path"]] = b64decode(value["content"])
        elif kind == "lfsFile":
            self.server.uploaded[value["path"]] = self.server.large[value["oid"]]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, unquote(urlsplit(self.path).path)
        hub.asked.append(f"{self.command} {self.path}")
        if hub.status != 200:
            # The second header asks clients to try again at once.
            self._send(b"{}", hub.status, {"X-Error-Code": hub.code, "Retry-After": "0"})
        elif path == "/api/models/owner/name":
            self._send_json({"id": "owner/name", "sha": _COMMIT, "private": bool(hub.private)})
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
        if self.command != "HEAD":
            self.wfile.write(content[:sent])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
