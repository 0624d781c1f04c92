"""An evaluation that was cut off is continued, and says what an uninterrupted one says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
    # Other settings are another evaluation.
    other = runs.start("eval", "toy_ppo_mlp", tmp_path, continues, "actor.seed=5")
    output = runs.output_of(other)
    assert other.returncode == 2
    assert "had another policy or other settings" in output
