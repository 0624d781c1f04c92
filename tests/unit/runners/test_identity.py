"""Policies are the same if their files hold the same."""

from __future__ import annotations

import shutil
from pathlib import Path

from rlinf.config.load import load
from rlinf.runners import checkpoint
from rlinf.runners.identity import content_of, policy_of
from rlinf.runners.warmup import given_weights


def test_content_is_names_and_bytes_below_a_folder(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        (folder / "part").mkdir(parents=True)
        (folder / "part" / "weights").write_text("ab")
    assert content_of(first) == content_of(second)
    (second / "part" / "weights").rename(second / "weights")
    assert content_of(first) != content_of(second)
    shutil.copy(first / "part" / "weights", tmp_path / "adapter.bin")
    assert content_of(tmp_path / "adapter.bin") not in (content_of(first), content_of(second))


def test_a_pointer_that_moves_on_names_another_policy(tmp_path: Path):
    def save(step: int) -> None:
        building = checkpoint.begin(tmp_path, step)
        (building / "actor").mkdir()
        (building / "actor" / "weights").write_text(f"{step}")
        checkpoint.commit(building, step, keep=9, score=float(step))

    def best() -> dict[str, object]:
        return policy_of(given_weights(load("toy_ppo_mlp", overrides).config))

    overrides = [f"runner.ckpt_path={tmp_path}/best"]
    save(1)
    first = best()
    assert best() == first
    save(2)
    assert best() != first
