"""`rlinf download`, up to the request that leaves the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from rlinf.errors import UserError
from rlinf.models.download import download


class Hub(HTTPServer):
    """A hub without a single model, that remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked: list[str] = []


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Hub)
        self.server.asked.append(self.path)
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def run(*arguments: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from rlinf.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "download", *arguments]
    settings = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120)


def test_a_name_is_asked_for_at_the_configured_hub(hub: Hub, tmp_path: Path):
    address = f"http://127.0.0.1:{hub.server_port}"
    found = run("openvla/openvla-7b", "--to", str(tmp_path), "--use-mirror", endpoint=address)
    assert any(path.startswith("/api/models/openvla/openvla-7b") for path in hub.asked)
    assert found.returncode == 2
    assert "the hub has no model openvla/openvla-7b" in found.stderr, found.stderr
    assert "Traceback" not in found.stderr


def test_a_hub_that_does_not_answer_is_told_in_a_sentence(tmp_path: Path):
    found = run("openvla/openvla-7b", "--to", str(tmp_path), endpoint="http://127.0.0.1:9")
    assert found.returncode == 2
    assert "could not be fetched" in found.stderr and "Traceback" not in found.stderr


@pytest.mark.parametrize("name", ["openvla-7b", "a/b/c", "/a", "openvla/", "./model"])
def test_what_is_no_name_on_a_hub_is_refused(name: str, tmp_path: Path):
    with pytest.raises(UserError, match="is no name on a hub"):
        download(name, tmp_path, "hf", use_mirror=False)
