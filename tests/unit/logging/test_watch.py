"""`rlinf watch` as a browser and as a stranger meet it: what it answers and what it keeps shut."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rlinf.errors import UserError
from rlinf.logging.watch import Runs, server, watch
from tests.unit.logging.run_folders import add_video, append, make_run, rows


class Client:
    """Asks a server as a browser does."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(
        self, path: str, host: str = "localhost:1", method: str = "GET", **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"Host": host, **sent})
        return connection.getresponse()

    def json(self, path: str) -> Any:
        return json.loads(self.get(path).read())


@contextmanager
def serving(folder: Path) -> Iterator[Client]:
    with server(Runs(folder), port=0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield Client(running.port)
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    root = tmp_path / "logs"
    for age, name in enumerate(("new", "old")):
        folder = make_run(root / name)
        for file in folder.iterdir():
            os.utime(file, (2e9 - age, 2e9 - age))
    (root / "no run").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    return root


def test_runs_are_listed_the_newest_first(runs: Path) -> None:
    make_run(runs / "several" / "deeper")
    with serving(runs) as client:
        listing = client.json("/api/runs")
    assert [run["name"] for run in listing["runs"]] == ["new", "old", "deeper"]
    assert listing["first"] is None
    new = listing["runs"][0]
    assert (new["step"], new["total"], new["success"], new["low"]) == (10, 20, 0.5, 0.4)


def test_a_run_that_is_named_is_shown_with_its_neighbours(runs: Path) -> None:
    with serving(runs / "old") as client:
        listing = client.json("/api/runs")
    names = {run["id"]: run["name"] for run in listing["runs"]}
    assert names[listing["first"]] == "old"
    assert set(names.values()) == {"new", "old"}


def test_a_run_is_followed_and_what_is_known_is_not_sent_again(runs: Path) -> None:
    with serving(runs) as client:
        number = client.json("/api/runs")["runs"][0]["id"]
        first = client.json(f"/api/runs/{number}")
        address = f"/api/runs/{number}?since={first['position']}"
        same = client.get(address)
        tag = same.headers["ETag"]
        same.read()
        assert client.get(address, If_None_Match=tag).status == 304
        append(runs / "new", rows(11, 11))
        assert client.get(address, If_None_Match=tag).status == 200
        assert client.json(address)["curves"]["train/loss"][-1][0] == 11


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/../secret.txt",
        "/api/runs/../../secret.txt",
        "/api/runs/{id}/../../../secret.txt",
        "/api/runs/{id}/..%2f..%2f..%2fsecret.txt",
        "/api/runs/{id}/%2e%2e/%2e%2e/secret.txt",
        "/api/runs/{id}/%2fetc%2fpasswd",
        "/api/runs/{id}//etc/passwd",
        "/api/runs/{id}/config.yaml",
        "/api/runs/{id}/run.log",
        "/api/runs/{id}/video/eval/step_1.json",
        "/api/runs/{id}/video/eval/leads_out.mp4",
        "/api/runs/000000000000",
        "/api/runs/..%2f..%2fsecret.txt",
        "/page.js",
    ],
)
def test_nothing_but_the_videos_of_a_run_is_handed_out(runs: Path, path: str) -> None:
    add_video(runs / "new", "step_1", [True])
    (runs / "new" / "video" / "eval" / "leads_out.mp4").symlink_to(runs.parent / "secret.txt")
    with serving(runs) as client:
        number = client.json("/api/runs")["runs"][0]["id"]
        answer = client.get(path.replace("{id}", number))
        assert answer.status in (404, 405, 308)
        content = answer.read()
        assert b"secret" not in content and b"root:" not in content


def test_a_video_comes_whole_and_in_parts(runs: Path) -> None:
    add_video(runs / "new", "step_1", [True], content=b"0123456789")
    with serving(runs) as client:
        number = client.json("/api/runs")["runs"][0]["id"]
        address = f"/api/runs/{number}/video/eval/step_1.mp4"
        whole = client.get(address)
        assert (whole.headers["Content-Type"], whole.read()) == ("video/mp4", b"0123456789")
        part = client.get(address, Range="bytes=2-4")
        assert (part.status, part.read()) == (206, b"234")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "10.0.0.1:8420", ""])
def test_only_requests_to_localhost_are_answered(runs: Path, host: str) -> None:
    with serving(runs) as client:
        for path in ("/", "/api/runs"):
            answer = client.get(path, host=host)
            assert answer.status == 400
            assert b"new" not in answer.read()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8420", "localhost:9999"])
def test_a_tunnel_may_have_another_port(runs: Path, host: str) -> None:
    with serving(runs) as client:
        assert client.get("/api/runs", host=host).status == 200


def test_nothing_can_be_changed_and_no_other_site_may_read(runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    with serving(runs) as client:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert client.get("/api/runs", method=method).status == 405
        headers = client.get("/").headers
        client.json("/api/runs/" + client.json("/api/runs")["runs"][0]["id"])
    assert "Access-Control-Allow-Origin" not in headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_it_listens_on_this_machine_alone(runs: Path) -> None:
    with server(Runs(runs), port=0) as running:
        assert running.socket.getsockname()[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_an_error_where_it_was_named(runs: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"--port {port}: Address already in use"):
            server(Runs(runs), port)
    with pytest.raises(UserError, match="--port 99999"):
        server(Runs(runs), 99999)


def test_a_folder_that_is_not_there_is_an_error_with_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder") as caught:
        watch(tmp_path / "nowhere", 0, print)
    assert "folder of a run" in caught.value.fix


def test_the_command_says_where_the_page_is_and_ends_with_ctrl_c(runs: Path) -> None:
    # What starts the tests in the background makes their processes deaf to Ctrl-C.
    code = (
        "import signal, sys; from rlinf.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "watch", str(runs), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = [process.stdout.readline() for _ in range(3)]
            (port,) = re.findall(r"http://127\.0\.0\.1:(\d+)/", said[1])
            assert Client(int(port)).get("/").status == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(600) == 0
        finally:
            process.kill()  # otherwise a failure would wait for it for ever
    assert said[0].startswith("2 runs in")


def test_a_run_of_many_rows_is_told_in_little(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "logs" / "long", steps=20_000)
    with serving(tmp_path / "logs") as client:
        number = client.json("/api/runs")["runs"][0]["id"]
        view = client.json(f"/api/runs/{number}")
        while view["behind"]:
            view = client.json(f"/api/runs/{number}")
        assert view["step"] == 20_000
        append(folder, rows(20_001, 20_001))
        news = client.get(f"/api/runs/{number}?since={view['position']}").read()
    assert len(news) < 60_000
