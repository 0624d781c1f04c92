from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.errors import UserError
from rlinf.models.shards import CONFIG_FILE
from rlinf.runners.resuming import compare_with_checkpoint
from tests.tiny_openvla import UNNORM_KEY, write_folder

Continue = Callable[..., list[str]]
REWARD = "env.train.init_params.reward_mode"


@pytest.fixture
def continue_with(tmp_path: Path) -> Continue:
    """What is said to overrides that continue a run; raises what refuses them."""

    def compare(
        *overrides: str, before: tuple[str, ...] = (), name: str = "toy_ppo_mlp"
    ) -> list[str]:
        def config_of(*given: str) -> Config:
            own = [f"runner.logger.log_path={tmp_path}", "runner.resume_dir=auto"]
            return load(name, [*own, *given]).config

        folder = tmp_path / "checkpoints" / "global_step_12"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkpoints" / "global_step_2").mkdir()  # of nothing
        stored = config_of(*before).model_dump(mode="json")
        stored["runner"]["of_another_version"] = 1
        del stored["algorithm"]["gamma"]
        (folder / CONFIG_FILE).write_text(json.dumps(stored))
        said: list[str] = []
        console = SimpleNamespace(note=said.append)
        run: Any = SimpleNamespace(
            console=console, checkpoints=tmp_path / "checkpoints", folder=tmp_path
        )
        compare_with_checkpoint(config_of(*overrides), run)
        return said

    return compare


def test_the_same_configuration_continues_without_a_word(continue_with: Continue):
    assert continue_with() == []


def test_how_long_where_and_how_watched_may_change_without_a_word(continue_with: Continue):
    harmless = ["max_steps=99", "save_interval=3", "max_failures=1", "logger.project_name=other"]
    assert (
        continue_with(
            *(f"runner.{key}" for key in harmless),
            "cluster.component_placement=0",
            "env.eval.video_cfg.save_video=true",
            "algorithm.gamma=0.5",  # the checkpoint's version did not know it
        )
        == []
    )


def test_what_changes_the_training_is_reported(continue_with: Continue, tmp_path: Path):
    (said,) = continue_with("actor.optim.lr=0.001", before=("actor.optim.lr=0.0002",))
    assert said == (
        f"changed since {tmp_path}/checkpoints/global_step_12:\n  actor.optim.lr: 0.0002 -> 0.001"
    )


def test_weights_that_do_not_fit_are_refused_by_name(continue_with: Continue):
    with pytest.raises(UserError) as raised:
        continue_with(
            "actor.model.hidden_dim=16",
            "runner.resume_force=true",
            before=("actor.model.hidden_dim=32",),
        )
    assert raised.value.message == (
        "actor.model.hidden_dim = 16: the checkpoint to resume from has 32, its weights do not fit"
    )
    assert "set actor.model.hidden_dim=32" in raised.value.fix


def test_another_task_is_refused_unless_forced(continue_with: Continue):
    before = (f"{REWARD}=sparse",)
    with pytest.raises(UserError, match=r"was trained with sparse(.|\n)*runner.resume_force=true"):
        continue_with(f"{REWARD}=dense", before=before, name="maniskill_ppo_mlp")


def test_what_was_forced_is_reported(continue_with: Continue):
    before, now = (f"{REWARD}=sparse",), (f"{REWARD}=dense", "runner.resume_force=true")
    (said,) = continue_with(*now, before=before, name="maniskill_ppo_mlp")
    assert f"{REWARD}: sparse -> dense" in said


@pytest.mark.parametrize("holds_reference", [False, True])
def test_a_new_kl_term_needs_the_policy_that_training_started_from(
    continue_with: Continue, tmp_path: Path, holds_reference: bool
):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "policy.safetensors").touch()
    before = (f"actor.model.model_path={tmp_path}/export",)
    if holds_reference:
        (tmp_path / "checkpoints" / "global_step_12" / "reference").mkdir(parents=True)
        assert "kl_beta: 0.0 -> 0.1" in continue_with("algorithm.kl_beta=0.1", before=before)[0]
        return
    told = rf"holds no reference policy(.|\n)*set actor.model.model_path={tmp_path}/export"
    with pytest.raises(UserError, match=told):
        continue_with("algorithm.kl_beta=0.1", before=before)


def test_without_a_checkpoint_there_is_nothing_to_compare(tmp_path: Path):
    notes: list[str] = []
    console = SimpleNamespace(note=notes.append, warn=notes.append)
    run: Any = SimpleNamespace(checkpoints=tmp_path / "checkpoints", console=console)
    config = load("toy_ppo_mlp", ["runner.resume_dir=auto"]).config
    compare_with_checkpoint(config, run)
    assert not notes


def test_a_model_whose_name_gives_it_another_recipe_is_another_task(
    continue_with: Continue, tmp_path: Path
):
    """All weights are in the checkpoint: the folder decides on pictures and statistics alone."""
    first = write_folder(tmp_path / "openvla-7b-rlvla-warmup")
    copies = [shutil.copytree(first, tmp_path / name) for name in ("rlvla-copy", "copy")]
    before, alike, otherwise = (
        (f"actor.model.model_path={path}", f"actor.model.unnorm_key={UNNORM_KEY}")
        for path in (first, *copies)
    )
    (said,) = continue_with(*alike, before=before, name="maniskill_grpo_openvla")
    assert "actor.model.model_path" in said
    shutil.rmtree(tmp_path / "checkpoints")
    with pytest.raises(UserError, match=r"model_path = (.|\n)* was trained with"):
        continue_with(*otherwise, before=before, name="maniskill_grpo_openvla")
