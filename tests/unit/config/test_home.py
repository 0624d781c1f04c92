"""Users without a home, or with one that is no use; a whole run of one is in tests/e2e."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlinf.config import home
from rlinf.config.machine import cache_folder
from rlinf.errors import UserError


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Folders that this user may not write; root, who runs tests in containers, may write all."""
    closed: set[Path] = set()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) not in closed and access(path, mode)
    )
    return closed


def test_a_usual_user_keeps_everything(tmp_path: Path):
    environment = {"HOME": str(tmp_path), "USER": "me"}
    assert home.settle(environment, tmp_path) == []
    assert environment == {"HOME": str(tmp_path), "USER": "me"}


@pytest.mark.parametrize("named", ["/", "/no/such/home"])
def test_a_home_that_is_no_use_is_replaced_by_a_private_folder(
    tmp_path: Path, unwritable: set[Path], named: str
):
    unwritable.add(Path("/"))
    unwritable.add(Path("/.cache"))
    environment = {"HOME": named, "USER": "me"}
    (note,) = home.settle(environment, tmp_path)
    own = Path(environment["HOME"])
    assert own == tmp_path / f"rlinf-{os.getuid()}" and own.stat().st_mode & 0o777 == 0o700
    assert f"HOME = {named}" in note and str(own) in note


def test_a_user_without_an_entry_gets_a_home_and_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def missing(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(home.pwd, "getpwuid", missing)
    environment: dict[str, str] = {}
    (note,) = home.settle(environment, tmp_path)
    assert "no home" in note and environment["USER"] == f"uid{os.getuid()}"
    assert Path(environment["HOME"]).is_dir()


def test_a_home_that_cannot_be_written_keeps_what_is_in_it_and_caches_move(
    tmp_path: Path, unwritable: set[Path], monkeypatch: pytest.MonkeyPatch
):
    unwritable.add(tmp_path)
    environment = {"HOME": str(tmp_path), "USER": "me"}
    (note,) = home.settle(environment, tmp_path)
    assert environment["HOME"] == str(tmp_path) and "RLINF_CACHE" in note
    monkeypatch.setenv("RLINF_CACHE", environment["RLINF_CACHE"])
    assert cache_folder() == tmp_path / f"rlinf-{os.getuid()}" / "cache"
    assert cache_folder("/elsewhere") == Path("/elsewhere")


def test_a_cache_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"RLINF_CACHE = .*file"):
        home.settle({"HOME": str(tmp_path), "RLINF_CACHE": str(tmp_path / "file")}, tmp_path)


def test_a_folder_that_another_user_could_have_made_is_not_taken(tmp_path: Path):
    (tmp_path / f"rlinf-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"rlinf-{os.getuid()}").chmod(0o777)
    with pytest.raises(UserError, match="not yours alone"):
        home.settle({"HOME": "/no/such/home"}, tmp_path)


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The cache that is named, and the one in the home of the user."""
    monkeypatch.setenv("RLINF_CACHE", str(tmp_path / "named"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "named").mkdir()
    (tmp_path / "home").mkdir()
    return tmp_path / "named", tmp_path / "home/.cache/rlinf"


def test_compiled_code_is_kept_in_the_cache(caches: tuple[Path, Path], tmp_path: Path):
    assert home.private_cache("code", tmp_path) == caches[0] / "code"
    assert (caches[0] / "code").is_dir()


def test_compiled_code_is_not_taken_from_a_cache_that_others_write(
    caches: tuple[Path, Path], tmp_path: Path
):
    named, own = caches
    named.chmod(0o777)
    assert home.private_cache("code", tmp_path) == own / "code"
    assert not (named / "code").exists()
    named.chmod(0o755)
    (named / "code").mkdir()
    (named / "code").chmod(0o757)
    assert home.private_cache("code", tmp_path) == own / "code"


def test_compiled_code_lies_apart_where_others_write_every_cache(
    caches: tuple[Path, Path], tmp_path: Path
):
    named, own = caches
    own.mkdir(parents=True)
    for folder in (named, own):
        folder.chmod(0o777)
    apart = tmp_path / f"rlinf-{os.getuid()}"
    assert home.private_cache("code", tmp_path) == apart / "cache/code"
    assert apart.stat().st_mode & 0o777 == 0o700


def test_a_link_that_others_can_replace_does_not_lead_to_compiled_code(
    caches: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link").symlink_to(caches[0])
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setenv("RLINF_CACHE", str(tmp_path / "open" / "link"))
    assert home.private_cache("code", tmp_path) == caches[1] / "code"
    (tmp_path / "open").chmod(0o1777)  # as /tmp: an entry is its owner's
    assert home.private_cache("code", tmp_path) == tmp_path / "open/link/code"
