from __future__ import annotations

import json
from pathlib import Path

from rlinf.runners import checkpoint
from rlinf.runners.branches import leave_branch
from rlinf.runners.evaluate import read_history


def evaluate(folder: Path, step: int, success: float) -> None:
    overall = {"label": "", "success": success, "low": 0.0, "high": 1.0, "episodes": 8}
    (folder / "eval").mkdir(exist_ok=True)
    content = json.dumps({"step": step, "overall": overall})
    (folder / "eval" / f"step_{step}.json").write_text(content)


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
