"""What is written appears whole, and a disk that refuses it is reported in a sentence."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from socket import gethostname

import pytest

from rlinf.data.disk import FULL, refusals_told, reserve, written_beside
from rlinf.errors import UserError
from tests.full_disk import largest_file


def test_a_file_takes_its_place_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    for text in ("first", "second"):
        with written_beside(target) as building:
            building.write_text(text)
            assert not target.exists() or target.read_text() == "first"
        assert target.read_text() == text
    assert list(target.parent.iterdir()) == [target]


def test_a_folder_replaces_another_with_all_that_is_in_it(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for name in ("a", "b"):
        with written_beside(target) as building:
            (building / "inside").mkdir(parents=True)
            (building / "inside" / name).write_text(name)
    assert [path.name for path in (target / "inside").iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_does_not_take_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    target = tmp_path / "folder"
    with (
        pytest.raises(UserError, match="Is a directory"),
        refusals_told("It", target, ""),
        written_beside(target) as building,
    ):
        building.touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "inside"]


@pytest.mark.parametrize("late", [False, True])
def test_what_fails_leaves_nothing_and_the_old_as_it_was(
    late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems notice only when a file is to be on the disk that it does not fit."""
    target = tmp_path / "folder"
    with written_beside(target) as building:
        building.mkdir()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if late:
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), written_beside(target) as building:
        building.mkdir()
        (building / "file").write_text("half")
        if not late:
            full(0)
    assert list(tmp_path.rglob("*")) == [target]


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "export"
    code = f"""
import os, signal
from pathlib import Path
from rlinf.data.disk import written_beside
with written_beside(Path({str(target)!r})) as building:
    building.mkdir()
    (building / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert len(list(tmp_path.iterdir())) == 1
    other = tmp_path / f".export.{gethostname()}-{os.getppid()}.tmp"  # that process still writes
    other.touch()
    with written_beside(target) as building:
        building.touch()
    assert {path.name for path in tmp_path.iterdir()} == {"export", other.name}


def test_a_refusal_is_reported_with_place_reason_and_free_space(tmp_path: Path) -> None:
    place = tmp_path / "not" / "yet" / "there"
    with (
        pytest.raises(UserError) as caught,
        refusals_told("The report", place, "Make room."),
        largest_file(100),
        (tmp_path / "file").open("wb", buffering=0) as file,
    ):
        file.write(bytes(100))
        file.write(b"1")
    told = str(caught.value)
    assert told.startswith(f"The report cannot be written to {place}: File too large; ")
    assert told.endswith("B are free there\n  fix: Make room.")


@pytest.mark.parametrize("number", [None, errno.ECONNREFUSED, errno.EACCES])
def test_what_a_disk_does_not_say_is_raised_as_it_is(number: int | None, tmp_path: Path) -> None:
    with pytest.raises(OSError), refusals_told("It", tmp_path, "", FULL):
        raise OSError() if number is None else OSError(number, "")


def test_a_reserved_file_has_all_its_blocks(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as opened:
        opened.truncate(1 << 20)
    reserve(file)
    assert file.stat().st_blocks * 512 >= file.stat().st_size == 1 << 20
