"""Faults of a model or of its settings are reported before anything starts, with what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlinf.cli import main
from rlinf.config.load import load
from rlinf.errors import UserError

Damage = Callable[[Any], object]


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def settings(model: Path, *more: str) -> list[str]:
    folder = f"runner.logger.log_path={model.parent / 'run'}"
    return [f"actor.model.model_path={model}", "actor.model.processor_path=null", folder, *more]


def refusal(model: Path, *more: str, name: str = "libero_spatial_ppo_gr00t") -> str:
    with pytest.raises(UserError) as caught:
        load(name, settings(model, *more))
    return f"{caught.value.message} | {caught.value.fix}"


def change(path: Path, damage: Damage) -> None:
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))


def numbers(tags: Any, part: str, key: str) -> Any:
    return tags["libero_franka"]["statistics"][part][key]


def still(tags: Any) -> None:
    """All of the action has one value."""
    for key in tags["libero_franka"]["statistics"]["action"].values():
        key["max"] = key["min"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda tags: tags.pop("libero_franka"), "no statistics of the embodiment libero_franka"),
        (lambda tags: tags["libero_franka"].pop("statistics"), "has no statistics of its state"),
        (lambda tags: numbers(tags, "action", "x").pop("q99"), "action.x lacks one of min, max"),
        (
            lambda tags: numbers(tags, "state", "x").update(std=[float("nan")]),
            "state.x has statistics that are not lists of finite numbers",
        ),
        (lambda tags: numbers(tags, "state", "x").update(min=[0, 0]), "of different lengths"),
        (
            lambda tags: numbers(tags, "state", "x").update(min=[3]),
            "state.x has a min above its max",
        ),
        (still, "min = max for all of its action"),
    ],
)
def test_statistics_that_are_missing_or_damaged_are_named(copy: Path, damage: Damage, words: str):
    change(copy / "experiment_cfg" / "metadata.json", damage)
    assert words in refusal(copy)


def test_numbers_that_never_change_are_warned_of(copy: Path):
    assert not _warnings(copy)

    def damage(tags: Any) -> None:
        for part in ("state", "action"):
            numbers(tags, part, "roll").update(max=[-1.0])

    change(copy / "experiment_cfg" / "metadata.json", damage)
    state, action = _warnings(copy)
    assert "min = max for number 0 of state.roll: the model does not see it" in state
    assert "min = max for number 0 of action.roll: the policy never changes it" in action


def _warnings(model: Path) -> list[str]:
    found = load("libero_spatial_ppo_gr00t", settings(model)).warnings
    return [warning for warning in found if "min = max" in warning]


def test_two_horizons_are_a_contradiction(copy: Path):
    change(copy / "config.json", lambda config: config.update(action_horizon=4))
    told = refusal(copy)
    assert "action_horizon = 4, but that of action_head_cfg is 8" in told


def test_a_chunk_longer_than_the_horizon_is_refused(copy: Path):
    told = refusal(copy, "actor.model.num_action_chunks=9")
    assert "num_action_chunks = 9: the model gives 8 actions" in told
    assert "set actor.model.num_action_chunks=8" in told


def test_missing_processor_files_are_refused(copy: Path):
    (copy / "processor" / "tokenizer.json").unlink()
    assert "rlinf download lerobot/eagle2hg-processor-groot-n1p5" in refusal(copy)


def test_an_embodiment_that_sees_more_than_the_simulator_shows_is_refused(copy: Path):
    told = refusal(copy, "actor.model.embodiment=libero_franka", name="maniskill_ppo_gr00t")
    assert "wrist" in told and "main" in told


def test_check_ends_with_code_2(copy: Path, capsys: pytest.CaptureFixture[str]):
    unknown = settings(copy, "actor.model.embodiment=libero_frank")
    assert main(["check", "libero_spatial_ppo_gr00t", *unknown]) == 2
    printed = capsys.readouterr().err
    assert "maniskill_widowx" in printed and "write libero_franka" in printed
    assert "Traceback" not in printed
