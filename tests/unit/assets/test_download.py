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

from rlinf.assets.base import Archive, Asset, HubDataSet
from rlinf.assets.download import address, download
from rlinf.errors import UserError
from tests.hub import hub


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder; `/cut/...` and `/cut-chunk/...` end in the middle of 2,000 bytes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self.path.startswith("/cut"):
            super().do_GET()
            return
        chunked = self.path.startswith("/cut-chunk/")
        self.send_response(200)
        self.send_header(
            *(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", "2000"))
        )
        self.end_headers()
        self.wfile.write((b"7d0\r\n" if chunked else b"") + bytes(1000))
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address."""
    folder = tmp_path / "server"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
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


def test_the_folder_inside_an_archive_that_is_named_becomes_the_assets(
    server: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = server
    with zipfile.ZipFile(folder / "deep.zip", "w") as archive:
        archive.writestr("home/author/robot/arm.txt", "long")
        archive.writestr("home/notes.txt", "")

    def wanted(inside: str) -> Asset:
        source = Archive(f"{url}/deep.zip", inside=inside)
        return Asset("robot", tmp_path / "robot", source, lambda place: [(place / "arm.txt",)])

    with pytest.raises(UserError, match="has no folder home/other"):
        download(wanted("home/other"), use_mirror=False, say=print)
    assert download(wanted("home/author/robot"), use_mirror=False, say=print)
    assert [file.name for file in (tmp_path / "robot").iterdir()] == ["arm.txt"]


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


@pytest.mark.parametrize(
    ("path", "words"),
    [("cut", "broke after 1,000 of 2,000 bytes"), ("cut-chunk", "the connection broke after")],
)
def test_a_connection_cut_in_the_middle_of_an_archive_is_said(
    server: tuple[Path, str], tmp_path: Path, path: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        download(asset(tmp_path / "robot", f"{server[1]}/{path}/robot.zip"), False, print)
    assert not (tmp_path / "robot").exists() and not list(tmp_path.glob(".download-*"))


def test_a_damaged_archive_is_said(server: tuple[Path, str], tmp_path: Path) -> None:
    """Its list of files is sound, what is compressed in it is not."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("robot/arm.txt", bytes(range(256)) * 8)
    content = bytearray(memory.getvalue())
    content[60:100] = b"\xff" * 40
    (server[0] / "robot.zip").write_bytes(content)
    with pytest.raises(UserError, match="could not be fetched"):
        download(asset(tmp_path / "robot", f"{server[1]}/robot.zip"), False, print)


@pytest.fixture
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asset:
    """A folder of a data set on a hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's waits between tries
    source = HubDataSet("owner/name", "carrot")
    return Asset("objects", tmp_path / "objects", source, lambda place: [(place / "a.txt",)])


def test_a_folder_of_a_data_set_arrives_alone(
    objects: Asset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub({"carrot/a.txt": b"long", "other/b.txt": b"soft"}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        assert download(objects, use_mirror=False, say=print)
        assert not any("b.txt" in asked for asked in server.asked)
    assert (objects.folder / "a.txt").read_bytes() == b"long"


@pytest.mark.parametrize(
    ("status", "cut", "words"),
    [
        (200, True, "owner/name could not be fetched"),
        (404, False, "no dataset owner/name"),
        (503, False, "owner/name could not be fetched"),
    ],
)
def test_a_hub_that_fails_leaves_nothing_of_a_data_set(
    objects: Asset, monkeypatch: pytest.MonkeyPatch, status: int, cut: bool, words: str
) -> None:
    with hub({"carrot/a.txt": bytes(2000)}) as server:
        server.behave(status, "RepoNotFound" if status == 404 else "", cut)
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        with pytest.raises(UserError, match=words):
            download(objects, use_mirror=False, say=print)
    assert not objects.folder.exists() and not list(objects.folder.parent.glob(".download-*"))


def test_an_archive_writes_nothing_outside_its_folder(
    server: tuple[Path, str], tmp_path: Path
) -> None:
    folder, url = server
    link = zipfile.ZipInfo("robot/link")
    link.external_attr = 0o120777 << 16  # a symbolic link, in Unix's terms
    with zipfile.ZipFile(folder / "robot.zip", "w") as archive:
        archive.writestr("robot/arm.txt", "long")
        archive.writestr("robot/../../../../upwards.txt", "")
        archive.writestr(str(tmp_path / "absolute.txt"), "")
        archive.writestr(link, str(tmp_path))
        archive.writestr("robot/link/through.txt", "")
    before = set(tmp_path.iterdir())
    with pytest.raises(UserError, match="could not be fetched"):
        download(asset(tmp_path / "robot", f"{url}/robot.zip"), False, print)
    assert set(tmp_path.iterdir()) == before


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
