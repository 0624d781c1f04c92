"""An evaluation that was cut off is continued, and says what an uninterrupted one says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlinf.cli import main
from rlinf.metrics.evaluation import read_evaluation
from tests.e2e import runs


def test_a_continued_evaluation_runs_what_is_missing_and_gives_the_same_result(
    tmp_path: Path,
) -> None:
    runs.run("eval", "toy_ppo_mlp", tmp_path, "env.eval.total_num_envs=32")
    result = tmp_path / "eval" / "step_0.json"
    whole = json.loads(result.read_text())
    assert whole["overall"]["episodes"] == 64
    (journal,) = (tmp_path / "eval" / "episodes").glob("*.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    assert len(lines) == 64
    journal.write_text("".join(lines[:20]) + lines[20][:30])  # a machine went down
    result.unlink()
    continues = "runner.resume_dir=auto"
    runs.run("eval", "toy_ppo_mlp", tmp_path, "env.eval.total_num_envs=8", continues)
    continued = json.loads(result.read_text())
    assert len(journal.read_text().splitlines()) == 20 + 1 + 44
    # The policy's last bits may depend on the size of the batch, and so may a return's.
    returns = [
        [episode.pop("episode_return") for episode in one["episodes"]] for one in (whole, continued)
    ]
    assert returns[1] == pytest.approx(returns[0], rel=1e-4)
    assert continued.pop("metrics") == pytest.approx(whole.pop("metrics"), rel=1e-4)
    for one in (whole, continued):
        for episode in one["episodes"]:
            del episode["env"]  # which env ran it may differ
    assert continued == whole
    assert {path.suffix for path in result.parent.glob("step_0.*")} == {".json", ".md", ".html"}
    # Other settings are another evaluation.
    other = runs.start("eval", "toy_ppo_mlp", tmp_path, continues, "actor.seed=5")
    output = runs.output_of(other)
    assert other.returncode == 2
    assert "had another policy or other settings" in output


def test_shards_on_their_own_are_the_whole_evaluation_once_they_are_merged(tmp_path: Path) -> None:
    """Failures of each have a video; the merged one has the same starts as the whole one."""
    whole, parts = tmp_path / "whole", [tmp_path / "part0", tmp_path / "part1"]
    small = ("env.eval.total_num_envs=8", "env.eval.num_trials=15")
    film = ("env.eval.video_cfg.save_video=true", "env.eval.video_cfg.only=failures")
    runs.run("eval", "toy_ppo_mlp", whole, *small)
    for index, part in enumerate(parts):
        shard = ("env.eval.num_shards=2", f"env.eval.shard={index}")
        runs.run("eval", "toy_ppo_mlp", part, *small, *shard, *film)
    assert main(["eval", "--merge", *map(str, parts), "--output", str(tmp_path / "merged")]) == 0
    once, again = (
        read_evaluation(tmp_path / name / "eval/step_0.json") for name in ("whole", "merged")
    )
    kept = [[(t.key, t.success_once, t.length) for t in file.episodes] for file in (once, again)]
    assert kept[0] == kept[1] and len(kept[0]) == 15
    assert again.overall == once.overall
    failed = [trial for trial in again.episodes if not trial.success_once]
    assert failed and all(trial.video and Path(trial.video).is_file() for trial in failed)
    assert not any(trial.video for trial in again.episodes if trial.success_once)
    assert main(["eval", "--compare", str(whole), str(tmp_path / "merged")]) == 0
    assert main(["eval", "--compare", str(whole), str(parts[0])]) == 2
