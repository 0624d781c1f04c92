"""Data sets that do not fit together, or not the policy, are reported by `check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlinf.config.load import load
from rlinf.config.machine import Machine
from rlinf.errors import UserError


def data_set(folder: Path, actions: int, state: int) -> Path:
    (folder / "meta").mkdir(parents=True)
    features = {"action": {"shape": [actions]}, "observation.state": {"shape": [state]}}
    (folder / "meta/info.json").write_text(json.dumps({"features": features}))
    return folder


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ((7, 8), (8, 8), ["action of", "/b has 8 numbers, that of", "/a has 7"]),
        ((7, 8), (7, 9), ["observation.state of", "/b has 9 numbers, that of", "/a has 8"]),
        ((6, 8), (6, 8), ["have 6 dimensions, actor.model.action_dim is 7"]),
    ],
)
def test_sizes_that_do_not_fit_are_reported(
    laptop: Machine,
    tmp_path: Path,
    first: tuple[int, int],
    second: tuple[int, int],
    words: list[str],
) -> None:
    folders = data_set(tmp_path / "a", *first), data_set(tmp_path / "b", *second)
    data = f"imitation.data=[{','.join(map(str, folders))}]"
    overrides = [f"runner.logger.log_path={tmp_path}/run", "imitation=lerobot", data]
    with pytest.raises(UserError) as caught:
        load("quickstart", overrides, laptop, "sft")
    for word in words:
        assert word in str(caught.value)


def test_what_fits_or_says_nothing_is_accepted(laptop: Machine, tmp_path: Path) -> None:
    folders = [data_set(tmp_path / name, 7, 9) for name in "ab"]
    (tmp_path / "damaged/meta").mkdir(parents=True)
    (tmp_path / "damaged/meta/info.json").write_text("{")
    data = f"imitation.data=[{','.join(map(str, [*folders, tmp_path / 'damaged']))}]"
    overrides = [f"runner.logger.log_path={tmp_path}/run", "imitation=lerobot", data]
    settings = load("quickstart", overrides, laptop, "sft").config.imitation
    assert settings is not None and len(settings.data) == 3
