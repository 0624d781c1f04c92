"""A run that is continued with more steps keeps the schedule it began with, unless asked."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlinf.config.load import load
from rlinf.models.shards import CONFIG_FILE
from rlinf.runners.schedules import described, length, settle_imitation, settle_training


@pytest.mark.parametrize(
    ("asked", "first", "planned", "expected"),
    [
        (0, 0, 80, 80),  # a new run
        (0, 80, 160, 80),  # continued with more iterations
        (0, 80, 40, 80),  # or fewer
        (-1, 80, 160, 160),
        (-1, 0, 80, 80),
        (120, 80, 160, 120),
        (120, 0, 80, 120),
    ],
)
def test_the_length_of_a_schedule(asked: int, first: int, planned: int, expected: int):
    assert length(asked, first, planned) == expected


def test_what_is_told_of_a_continued_schedule():
    # A line that falls from 1 to 0, seen after 60 steps.
    def rate(total: int) -> float:
        return max(0.0, 1 - 60 / total)

    assert described(0, 80, 80, rate, "key") is None
    assert described(80, 80, 80, rate, "key") is None
    assert described(80, 80, 160, lambda _: 1.0, "key") is None  # a constant rate
    assert described(80, 80, 160, rate, "key") == (
        "learning rate: the schedule of 80 steps that the run began with goes on, so it is now "
        "0.25; key=-1 spreads it over the 160 steps of this run, where it is 0.62 now"
    )
    assert described(80, 160, 160, rate, "key") == (
        "learning rate: its schedule has 160 steps instead of 80, so it is now 0.62 instead of 0.25"
    )


def run_of(notes: list[str]) -> Any:
    return SimpleNamespace(console=SimpleNamespace(note=notes.append, warn=notes.append))


def save(folder: Path, step: int, config: Any) -> None:
    target = folder / "checkpoints" / f"global_step_{step}"
    target.mkdir(parents=True)
    (target / CONFIG_FILE).write_text(json.dumps(config.model_dump(mode="json")))


def test_a_training_that_goes_on_twice_keeps_the_schedule_of_its_first_part(tmp_path: Path):
    notes: list[str] = []
    common = [
        f"runner.logger.log_path={tmp_path}",
        "actor.optim.warmup_style=cosine",
        "actor.optim.lr_warmup_steps_ratio=0.1",
    ]

    def settle(*overrides: str) -> int:
        loaded = load("toy_ppo_mlp", [*common, "runner.resume_dir=auto", *overrides])
        config = settle_training(loaded.config, loaded.plan, run_of(notes))
        save(tmp_path, loaded.plan.iterations, config)
        return config.actor.optim.total_training_steps

    first = settle("runner.max_steps=10")
    assert first > 0 and not notes
    assert settle("runner.max_steps=20") == first
    assert settle("runner.max_steps=30") == first
    assert len(notes) == 2 and "actor.optim.total_training_steps=-1" in notes[1]
    spread = settle("runner.max_steps=40", "actor.optim.total_training_steps=-1")
    assert spread == 4 * first and "instead of" in notes[2]
    assert settle("runner.max_steps=50") == spread


def test_imitation_keeps_its_schedule_too(tmp_path: Path):
    notes: list[str] = []

    def settle(*overrides: str) -> int:
        given = (f"runner.logger.log_path={tmp_path}", "runner.resume_dir=auto", *overrides)
        config = load("quickstart", given, purpose="sft").config
        assert config.imitation is not None
        config = settle_imitation(config, config.imitation, run_of(notes))
        assert config.imitation is not None
        save(tmp_path, config.imitation.steps, config)
        return config.imitation.schedule_steps

    assert settle("imitation.steps=100") == 100
    assert settle("imitation.steps=200") == 100
    assert "imitation.schedule_steps=-1" in notes[0] and "so it is now 0;" in notes[0]
    assert settle("imitation.steps=300", "imitation.schedule_steps=-1") == 300
