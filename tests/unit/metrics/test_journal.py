"""Finished episodes survive whatever ends an evaluation."""

from __future__ import annotations

from rlinf.data.types import EpisodeResult, Start
from rlinf.metrics.journal import Journal, read

FIRST = EpisodeResult(0, Start(0, 1, 7), 4, 1.0, True, True, True)
SECOND = EpisodeResult(3, Start(2, 0, 9), 10, 0.5, False, False, False)


def test_what_was_kept_is_read_from_the_files_of_all_workers(tmp_path):
    Journal(tmp_path / "eval" / "env0-0.jsonl").append(0, [FIRST, SECOND])
    Journal(tmp_path / "eval" / "env1-0.jsonl").append(1, [FIRST])
    assert read(tmp_path / "eval") == [(0, FIRST), (0, SECOND), (1, FIRST)]
    assert read(tmp_path / "nothing") == []


def test_a_line_that_was_cut_off_is_left_out_and_what_follows_is_not(tmp_path):
    path = tmp_path / "env0-0.jsonl"
    Journal(path).append(0, [FIRST, SECOND])
    path.write_bytes(path.read_bytes()[:-9])
    Journal(path).append(0, [FIRST])  # of an evaluation that was continued
    assert read(tmp_path) == [(0, FIRST)]
