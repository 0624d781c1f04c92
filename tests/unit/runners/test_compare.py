"""`rlinf eval --compare` and `--merge`, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlinf.cli import main
from rlinf.metrics.evaluation import Shard, TrialKey, read_evaluation
from rlinf.runners.evaluate import write_result
from tests.unit.metrics.evaluations import file_of, outcomes


def written(folder: Path, letters: str, **more: object) -> Path:
    return write_result(folder, file_of(outcomes(0, letters), **more))


def test_two_runs_are_compared_by_their_last_evaluations(tmp_path, capsys):
    written(tmp_path / "a", "xxxxxxxx")
    written(tmp_path / "a", "xx......", step=3)
    other = written(tmp_path / "b", "xxxxxx..")
    page = tmp_path / "page.md"
    asked = ["eval", "--compare", str(tmp_path / "a"), str(other), "--output", str(page)]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "McNemar's exact test" in said and "10000 resamples" in said
    row = "| open the drawer | 8 | 25.0% | 75.0% | +50.0 | +12.5 to +87.5 | 0 | 4 | 0.1250 |"
    assert row in page.read_text()  # 0 of 4: 2 / 2^4; four of eight differ by one


def test_unequal_starts_end_with_code_2(tmp_path, capsys):
    written(tmp_path / "a", "xx")
    written(tmp_path / "b", "xxx")
    assert main(["eval", "--compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "were not evaluated from equal starts" in capsys.readouterr().err


def test_shards_become_one_evaluation_with_its_pages(tmp_path):
    episodes = outcomes(0, "xx.x")
    video = {TrialKey(0, 2, 2, 0): "video/eval/step_00000/a.mp4"}
    for index in range(2):
        shard = Shard(index=index, count=2)
        part = file_of(episodes[index::2], shard=shard, videos=video)
        write_result(tmp_path / f"part{index}", part)
    parts = [str(tmp_path / f"part{index}") for index in range(2)]
    whole = tmp_path / "whole"
    assert main(["eval", "--merge", *parts, "--output", str(whole)]) == 0
    file = read_evaluation(whole / "eval" / "step_0.json")
    assert (file.overall.episodes, file.overall.success) == (4, 0.75)
    (video_of_it,) = [trial.video for trial in file.episodes if trial.video]
    assert video_of_it == str(tmp_path / "part0" / "video/eval/step_00000/a.mp4")
    assert (whole / "eval" / "step_0.html").is_file() and (whole / "eval" / "step_0.md").is_file()
    assert main(["eval", "--merge", *parts, "--output", str(whole)]) == 2  # it exists


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eval"], "no configuration named"),
        (["eval", "toy_ppo_mlp", "--output", "x"], "--output goes with"),
        (["eval", "--merge", "x"], "--merge needs --output"),
        (["eval", "toy_ppo_mlp", "--compare", "a", "b"], "stands alone"),
        (["eval", "--compare", "a", "b"], "no evaluation has finished there"),
    ],
)
def test_what_does_not_go_together_is_told(words, said, capsys):
    assert main(words) == 2
    assert said in capsys.readouterr().err
