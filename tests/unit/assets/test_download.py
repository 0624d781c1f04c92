"""Fetching from a server on this machine, which is as real as one far away."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rlinf.assets.base import Archive, Asset
from rlinf.assets.download import address, download
from rlinf.errors import UserError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address."""
    folder = tmp_path / "server"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def zipped(**files: str) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"robot-0.2.0/{name}.txt", text)
    return memory.getvalue()


def asset(folder: Path, url: str, sha256: str | None = None) -> Asset:
    return Asset("robot", folder, Archive(url, sha256), lambda place: [(place / "arm.txt",)])


def test_an_archive_arrives_whole_and_is_not_fetched_twice(
    server: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = server
    content = zipped(arm="long", hand="soft")
    (folder / "robot.zip").write_bytes(content)
    wanted = asset(tmp_path / "a/robot", f"{url}/robot.zip", hashlib.sha256(content).hexdigest())
    said: list[str] = []
    assert download(wanted, use_mirror=False, say=said.append)
    assert (tmp_path / "a/robot/arm.txt").read_text() == "long"
    assert (tmp_path / "a/robot/hand.txt").read_text() == "soft"
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["robot"]
    (folder / "robot.zip").unlink()
    assert not download(wanted, use_mirror=False, say=said.append)
    assert "already" in said[-1]


def test_what_was_incomplete_is_replaced(server: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = server
    (folder / "robot.zip").write_bytes(zipped(arm="long"))
    (tmp_path / "robot").mkdir()
    (tmp_path / "robot/half.txt").write_text("")
    download(asset(tmp_path / "robot", f"{url}/robot.zip"), use_mirror=False, say=print)
    assert [file.name for file in (tmp_path / "robot").iterdir()] == ["arm.txt"]


@pytest.mark.parametrize(
    ("content", "sha256", "message"),
    [
        (zipped(arm="long"), "0" * 64, "checksum"),
        (b"<html>not found</html>", None, "not a zip file"),
        (zipped(hand="soft"), None, "has no arm.txt"),
        (None, None, "(?i)not found"),
    ],
)
def test_what_is_wrong_with_a_download_is_said(
    server: tuple[Path, str],
    tmp_path: Path,
    content: bytes | None,
    sha256: str | None,
    message: str,
) -> None:
    folder, url = server
    if content is not None:
        (folder / "robot.zip").write_bytes(content)
    with pytest.raises(UserError, match=message):
        download(asset(tmp_path / "robot", f"{url}/robot.zip", sha256), False, print)
    assert not list(tmp_path.glob(".download-*"))


def test_a_source_out_of_reach_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="could not be fetched"):
        download(asset(tmp_path / "robot", "http://127.0.0.1:9/robot.zip"), False, print)


def test_mirrors_are_used_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    hub, github = "https://huggingface.co/datasets/a", "https://github.com/a/b.zip"
    assert address(hub, False) == hub
    assert address(github, False) == github
    assert address(hub, True) == "https://hf-mirror.com/datasets/a"
    assert address(github, True) == "https://ghfast.top/https://github.com/a/b.zip"
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/")
    assert address(hub, False) == "https://hub.example/datasets/a"
