from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlinf.errors import UserError
from rlinf.runners import checkpoint
from rlinf.runners.branches import checkpoint_to_continue, leave_branch
from rlinf.runners.evaluate import read_history


def evaluate(folder: Path, step: int, success: float) -> None:
    overall = {"label": "", "success": success, "low": 0.0, "high": 1.0, "episodes": 8}
    (folder / "eval").mkdir(exist_ok=True)
    content = json.dumps({"step": step, "overall": overall})
    (folder / "eval" / f"step_{step}.json").write_text(content)
    for page in ("md", "html"):
        (folder / "eval" / f"step_{step}.{page}").write_text(content)


def save(folder: Path, step: int, score: float | None = None) -> Path:
    building = checkpoint.begin(folder / "checkpoints", step)
    (building / "weights").write_text(f"of step {step}")
    return checkpoint.commit(building, step, keep=9, score=score)


def steps_in(folder: Path) -> list[int]:
    return [checkpoint.number_of(path) for path in checkpoint.folders(folder / "checkpoints")]


def test_a_run_continued_from_an_earlier_step_keeps_nothing_of_what_followed(tmp_path: Path):
    for step in (0, 2, 4, 6):
        evaluate(tmp_path, step, success=step / 10)
        save(tmp_path, step, score=step / 10)
    aside = leave_branch(tmp_path, tmp_path / "checkpoints" / "global_step_2", 2)
    assert aside == tmp_path / "abandoned" / "1"
    assert steps_in(tmp_path) == [2, 0] and steps_in(aside) == [6, 4]
    assert [step for step, _ in read_history(tmp_path)] == [0, 2]
    assert [step for step, _ in read_history(aside)] == [4, 6]
    assert len(list((aside / "eval").iterdir())) == 2 * 3  # with their pages
    for pointer in (checkpoint.LATEST, checkpoint.BEST):
        root = tmp_path / "checkpoints"
        assert checkpoint.follow(root / pointer) == root / "global_step_2"
    # The other branch, once more abandoned, stays beside the first.
    save(tmp_path, 4)
    again = leave_branch(tmp_path, tmp_path / "checkpoints" / "global_step_2", 2)
    assert again == tmp_path / "abandoned" / "2" and steps_in(again) == [4]


def test_the_newest_checkpoint_leaves_no_branch(tmp_path: Path):
    for step in (0, 2):
        evaluate(tmp_path, step, 0.5)
        save(tmp_path, step)
    assert leave_branch(tmp_path, tmp_path / "checkpoints" / "global_step_2", 2) is None
    assert steps_in(tmp_path) == [2, 0] and len(read_history(tmp_path)) == 2


def test_the_checkpoint_of_another_run_continues_nothing_in_this_folder(tmp_path: Path):
    here, other = tmp_path / "here", tmp_path / "other"
    here.mkdir()
    evaluate(here, 1, 0.5)
    save(here, 1)
    aside = leave_branch(here, save(other, 5), 5)
    assert aside is not None and steps_in(aside) == [1] and steps_in(here) == []
    assert read_history(here) == []
    assert not (here / "checkpoints" / checkpoint.LATEST).exists()


def run_in(folder: Path, said: list[str]) -> Any:
    """What is asked of a run here."""
    console = SimpleNamespace(note=said.append, warn=said.append)
    return SimpleNamespace(folder=folder, checkpoints=folder / "checkpoints", console=console)


def test_a_run_killed_before_its_first_checkpoint_begins_anew_beside_what_it_wrote(tmp_path: Path):
    for attempt in (1, 2):
        evaluate(tmp_path, 0, 0.5)
        (tmp_path / "metrics.jsonl").write_text(f"of attempt {attempt}")
        (tmp_path / "run.log").write_text("goes on")
        (tmp_path / "checkpoints" / ".global_step_4.1.tmp").mkdir(parents=True, exist_ok=True)
        said: list[str] = []
        assert checkpoint_to_continue(run_in(tmp_path, said), "auto") is None
        aside = tmp_path / "abandoned" / str(attempt)
        assert said == [
            f"{tmp_path}/checkpoints holds no checkpoint: the run begins anew; what it wrote is "
            f"now in {aside}"
        ]
        assert (aside / "metrics.jsonl").read_text() == f"of attempt {attempt}"
        assert len(read_history(aside)) == 1 and read_history(tmp_path) == []
    kept = ["abandoned", "checkpoints", "run.log"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(tmp_path: Path):
    for step in (1, 2):
        (save(tmp_path, step) / "weights").unlink()
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(UserError, match=r"is whole: .*step_2 .*; .*step_1 .*weights is missing"):
        checkpoint_to_continue(run_in(tmp_path, []), "auto")
    assert (tmp_path / "metrics.jsonl").exists() and steps_in(tmp_path) == [2, 1]


def test_a_new_run_has_nothing_to_say(tmp_path: Path):
    said: list[str] = []
    assert checkpoint_to_continue(run_in(tmp_path, said), None) is None and said == []
    assert checkpoint_to_continue(run_in(tmp_path, said), "auto") is None
    assert said == [f"{tmp_path}/checkpoints holds no checkpoint: the run begins anew"]
