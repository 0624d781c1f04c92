"""`rlinf download` through the real clients, against a hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlinf.cli import main
from rlinf.errors import UserError
from rlinf.models.download import Source, download
from tests.full_disk import largest_file
from tests.hub import Hub, hub

FILES = {"config.json": b'{"a": 1}', "nested/model.safetensors": bytes(range(256)) * 400}
NAME = "owner/name"


@pytest.fixture(scope="module")
def one_hub() -> Iterator[Hub]:
    """ModelScope's client reads the address once in a process."""
    with hub(FILES) as server:
        yield server


@pytest.fixture
def server(one_hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hub:
    """A hub that both clients ask."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "cache"))
    for variable in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(variable, one_hub.address)
    one_hub.behave()
    return one_hub


@pytest.fixture(params=["hf", "modelscope"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each hub whose client is installed, without its waits between tries."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    if request.param == "modelscope":
        control = pytest.importorskip("modelscope_hub._download_control")._DownloadControl
        monkeypatch.setattr(control, "sleep", lambda self, seconds: None)
    return str(request.param)


def test_a_model_arrives_whole(source: Source, server: Hub, tmp_path: Path) -> None:
    download(NAME, tmp_path / "model", source, use_mirror=False)
    for name, content in FILES.items():
        assert (tmp_path / "model" / name).read_bytes() == content


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (404, "RepoNotFound", "no model owner/name that you may read"),
        (403, "GatedRepo", "no model owner/name that you may read"),
        (401, "", "no model owner/name that you may read"),
        (500, "", "owner/name could not be fetched: .*500"),
    ],
)
def test_a_hub_that_refuses_is_told_in_a_sentence(
    source: Source, server: Hub, tmp_path: Path, status: int, code: str, words: str
) -> None:
    server.behave(status, code)
    with pytest.raises(UserError, match=words):
        download(NAME, tmp_path / "model", source, use_mirror=False)
    assert any(NAME in asked for asked in server.asked)


def test_a_connection_cut_in_the_middle_of_a_file_is_told_in_a_sentence(
    source: Source, server: Hub, tmp_path: Path
) -> None:
    server.behave(cut=True)
    with pytest.raises(UserError, match="owner/name could not be fetched"):
        download(NAME, tmp_path / "model", source, use_mirror=False)
    assert not (tmp_path / "model/nested/model.safetensors").exists()


def test_a_hub_out_of_reach_is_told_in_a_sentence(
    server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"owner/name could not be fetched: .*refused"):
        download(NAME, tmp_path / "model", "hf", use_mirror=False)


def test_a_disk_that_is_too_small_is_reported_with_its_place(
    source: Source, server: Hub, tmp_path: Path
) -> None:
    with largest_file(50_000), pytest.raises(UserError) as caught:
        download(NAME, tmp_path / "model", source, use_mirror=False)
    assert f"owner/name cannot be written to {tmp_path}/model: File too large" in str(caught.value)
    assert "are free there\n  fix: make room and start again" in str(caught.value)


def test_the_command_asks_the_configured_hub_and_not_the_mirror(
    server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["download", NAME, "--to", f"{tmp_path}/model", "--use-mirror"]) == 0
    assert f"actor.model.model_path={tmp_path}/model" in capsys.readouterr().out


def test_an_address_without_http_is_reported_with_the_right_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "hub.example")
    with pytest.raises(UserError, match=r"(?s)HF_ENDPOINT = hub\.example: .*=https://hub\.example"):
        download(NAME, tmp_path, "hf", use_mirror=False)


@pytest.mark.parametrize(
    "name", ["openvla-7b", "a/b/c", "/a", "openvla/", "./model", "a b/c", "a/.."]
)
def test_what_is_no_name_on_a_hub_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no name on a hub"):
        download(name, tmp_path, "hf", use_mirror=False)
