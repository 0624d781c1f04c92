"""Finished episodes survive whatever ends an evaluation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlinf.data.types import EpisodeResult, Start
from rlinf.errors import UserError
from rlinf.metrics.journal import Journal, read
from tests.full_disk import largest_file

FIRST = EpisodeResult(0, Start(0, 1, 7), 4, 1.0, True, True, True)
AGAIN = replace(FIRST, repeat=1)
SECOND = EpisodeResult(3, Start(2, 0, 9), 10, 0.5, False, False, False)


def test_what_was_kept_is_read_from_the_files_of_all_workers(tmp_path):
    Journal(tmp_path / "eval" / "env0-0.jsonl").append([FIRST, SECOND])
    Journal(tmp_path / "eval" / "env1-0.jsonl").append([AGAIN])
    assert read(tmp_path / "eval") == [FIRST, SECOND, AGAIN]
    assert read(tmp_path / "nothing") == []


def test_a_line_that_was_cut_off_is_left_out_and_what_follows_is_not(tmp_path):
    path = tmp_path / "env0-0.jsonl"
    Journal(path).append([FIRST, SECOND])
    path.write_bytes(path.read_bytes()[:-9])
    Journal(path).append([FIRST])  # of an evaluation that was continued
    assert read(tmp_path) == [FIRST]


def test_a_full_disk_is_an_error_of_the_user_and_the_evaluation_goes_on_from_what_is_kept(tmp_path):
    journal = Journal(path := tmp_path / "env0-0.jsonl")
    journal.append([FIRST])
    with largest_file(path.stat().st_size + 5), pytest.raises(UserError) as told:
        journal.append([SECOND])
    assert str(path) in told.value.message and "resume_dir=auto" in told.value.fix
    assert read(tmp_path) == [FIRST]
    Journal(path).append([SECOND])
    assert read(tmp_path) == [FIRST, SECOND]
