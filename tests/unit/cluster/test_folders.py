"""Where Ray keeps its sockets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlinf.cluster import folders
from rlinf.cluster.folders import LONGEST, OPEN_TO_ALL, problem_of, temporary_folder
from rlinf.errors import UserError


def only(*good: str):
    return lambda folder: None if folder in good else "no use"


def test_the_first_folder_that_serves_is_taken_and_those_before_it_are_named():
    both = {"RAY_TMPDIR": "/a", "TMPDIR": "/b"}
    assert temporary_folder(both, only("/a", "/b", "/tmp")) == ("/a", [])
    assert temporary_folder(both, only("/b", "/tmp")) == ("/b", ["RAY_TMPDIR = /a: no use"])
    assert temporary_folder({}, only("/tmp")) == ("/tmp", [])
    folder, problems = temporary_folder({"TMPDIR": "/b"}, only("/dev/shm"))
    assert folder == "/dev/shm" and problems[0] == "TMPDIR = /b: no use" and len(problems) == 3


def test_where_none_serves_each_is_reported_with_its_reason():
    with pytest.raises(UserError, match=r"(?s)TMPDIR = /b: no use.*/tmp: no use.*RAY_TMPDIR"):
        temporary_folder({"TMPDIR": "/b"}, only())


def test_a_folder_of_the_longest_name_has_sockets_that_the_kernel_accepts(tmp_path: Path):
    session = "session_2026-11-28_21-04-33_000000_4194304"
    assert LONGEST + len(f"/rlinf-0123/{OPEN_TO_ALL}/{session}/sockets/plasma_store") == 107
    assert LONGEST == 30


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("temporary", "no absolute path"),
        ("/tmp/Müller", "ASCII"),
        ("/" + "x" * 30, "31 letters, and sockets allow 30"),
        ("/no/such/folder", "no folder"),
        ("/dev/null", "no folder"),
        ("/proc", "No such file or directory"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(folder: str, words: str):
    assert words in str(problem_of(folder))


def test_a_full_folder_does_not_serve(monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    assert problem_of("/tmp") is None
    monkeypatch.setattr(folders.os, "posix_fallocate", full)
    assert problem_of("/tmp") == "No space left on device"
