"""What several runs need is made by one of them, and made again where it is damaged."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from rlinf.data.cache import damage, discard, one_maker, seal

LONG_S = 60.0  # what works takes a moment, however busy the machine is


def never() -> None:
    raise AssertionError("nothing holds the lock")


def test_one_process_makes_what_others_wait_for(tmp_path: Path):
    target, waits, found = tmp_path / "cache/target", Event(), []

    def other() -> None:
        with one_maker(target, waits.set):
            found.append(target.is_file())

    with one_maker(target, never):
        thread = Thread(target=other)
        thread.start()
        assert waits.wait(LONG_S)
        target.write_text("made")
    thread.join(LONG_S)
    assert found == [True]


def test_a_process_that_waits_can_be_stopped(tmp_path: Path):
    target = tmp_path / "target"
    with (
        one_maker(target, never),
        pytest.raises(AssertionError, match="holds the lock"),
        one_maker(target, never),
    ):
        raise NotImplementedError
    with one_maker(tmp_path / "target", never):  # the one that gave up holds nothing
        pass


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path):
    (tmp_path / ".123-target/data").mkdir(parents=True)
    (tmp_path / ".target.123.tmp").write_text("half")
    (tmp_path / ".other.123.tmp").write_text("of another")
    (tmp_path / "target").mkdir()
    seal(tmp_path / "target")
    with one_maker(tmp_path / "target", never):
        pass
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".other.123.tmp", ".target.sha256", "target"}


def test_without_locks_each_process_makes_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    (tmp_path / ".target.123.tmp").write_text("of another process, which may be at work")
    with one_maker(tmp_path / "target", never), one_maker(tmp_path / "target", never):
        assert (tmp_path / ".target.123.tmp").exists()


def change(folder: Path) -> None:
    (folder / "inside/b").write_text("C")


def shorten(folder: Path) -> None:
    (folder / "inside/b").write_text("")


def remove(folder: Path) -> None:
    (folder / "inside/b").unlink()


def add(folder: Path) -> None:
    (folder / "inside/b").with_name("c").write_text("")


@pytest.mark.parametrize(
    ("harm", "name"), [(change, "b"), (shorten, "b"), (remove, "b"), (add, "c")]
)
def test_damage_is_found(tmp_path: Path, harm: Callable[[Path], None], name: str):
    folder = tmp_path / "folder"
    assert damage(folder) == "it is missing"
    (folder / "inside").mkdir(parents=True)
    (folder / "a").write_text("A")
    (folder / "inside/b").write_text("B")
    assert damage(folder) is None  # without a seal there is nothing to compare with
    seal(folder)
    assert damage(folder) is None
    harm(folder)
    assert damage(folder) == f"inside/{name} is not as it was written"
    discard(folder)
    assert not list(tmp_path.iterdir())
