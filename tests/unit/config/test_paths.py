"""Paths that cannot be meant are reported by `check`, with what to name instead."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from rlinf.config import preflight
from rlinf.config.load import Loaded, load
from rlinf.config.machine import Machine
from rlinf.errors import UserError
from rlinf.models.loading import build_policy, save_policy

Load = Callable[..., Loaded]
Errors = Callable[..., str]


@pytest.mark.parametrize(
    "key",
    ["actor.model.model_path", "runner.ckpt_path", "runner.resume_dir", "rollout.model.model_path"],
)
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("''", "must name a file or folder; leave it out, or write null, for none"),
        ("~nobody-of-this-name/x", "there is no user nobody-of-this-name on this machine"),
        ("x" * 300, "has a part of more than 255 bytes"),
    ],
)
def test_what_can_be_no_path_is_refused(
    errors_of: Errors, key: str, value: str, words: str
) -> None:
    message = errors_of(f"{key}={value}")
    assert key in message and words in message


def test_a_log_path_of_no_user_is_refused(errors_of: Errors) -> None:
    message = errors_of("runner.logger.log_path=~nobody-of-this-name/x")
    assert "runner.logger.log_path" in message and "there is no user" in message


@pytest.mark.parametrize("name", ["weights.pt", "pytorch_model.bin", "policy.safetensors"])
def test_a_file_of_weights_is_reported_with_the_folder_that_it_belongs_in(
    errors_of: Errors, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).touch()
    message = errors_of(f"runner.ckpt_path={tmp_path}/{name}")
    assert "this is a file; weights are named by their folder" in message
    assert "as model.safetensors or pytorch_model.bin" in message


def test_a_folder_without_weights_is_reported(errors_of: Errors, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for key, words in (
        ("runner.ckpt_path", "is no checkpoint and no policy"),
        ("runner.resume_dir", "is no checkpoint"),
        ("actor.model.model_path", "there is no policy in it"),
    ):
        assert words in errors_of(f"{key}={tmp_path}/empty")


@pytest.mark.parametrize("inside", ["", "/checkpoints"])
def test_a_run_named_as_its_checkpoint_is_its_best_or_else_its_latest(
    errors_of: Errors, load_toy: Load, tmp_path: Path, inside: str
) -> None:
    checkpoints = tmp_path / "old/checkpoints"
    (checkpoints / "global_step_1/actor").mkdir(parents=True)
    for key in ("runner.ckpt_path", "runner.resume_dir"):
        assert "this run has no complete checkpoint" in errors_of(f"{key}={tmp_path}/old{inside}")
    for pointer in ("latest", "best"):
        (checkpoints / pointer).write_text("global_step_1\n")
        loaded = load_toy(f"runner.ckpt_path={tmp_path}/old{inside}")
        assert loaded.config.runner.ckpt_path == str(checkpoints / pointer)
        assert any(f"the {pointer} one is taken" in note for note in loaded.notes)
    message = errors_of(f"runner.resume_dir={tmp_path}/old{inside}")
    assert f"set runner.resume_dir={checkpoints}/latest" in message


def test_exported_policies_are_accepted(load_toy: Load, tmp_path: Path) -> None:
    model = load_toy().config.actor.model
    save_policy(build_policy(model, seed=1), model, tmp_path / "export")
    for key in ("runner.ckpt_path", "actor.model.model_path"):
        assert load_toy(f"{key}={tmp_path}/export").config.actor.model.model_path
    (tmp_path / "export/policy.safetensors").unlink()
    with pytest.raises(UserError, match="there is no policy in it"):
        load_toy(f"runner.ckpt_path={tmp_path}/export")


def test_checkpoints_and_their_pointers_are_accepted(load_toy: Load, tmp_path: Path) -> None:
    folder = tmp_path / "old/checkpoints/global_step_1"
    (folder / "actor").mkdir(parents=True)
    (folder.parent / "latest").write_text("global_step_1\n")
    for path in (folder, folder.parent / "latest"):
        for key in ("runner.ckpt_path", "runner.resume_dir"):
            runner = load_toy(f"{key}={path}").config.runner
            assert str(path) in (runner.ckpt_path, runner.resume_dir)


def test_a_model_folder_without_its_files_is_reported_once(laptop: Machine, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError) as caught:
        load(
            "maniskill_ppo_openvla",
            [f"runner.logger.log_path={tmp_path}/run", f"actor.model.model_path={tmp_path}/model"],
            laptop,
        )
    assert str(caught.value).count("config.json cannot be read") == 1


@pytest.mark.parametrize(
    ("override", "package", "words"),
    [
        ("runner.logger.logger_backends=[wandb]", "wandb", "install.sh --extra wandb"),
        ("runner.logger.logger_backends=[swanlab]", "swanlab", "install.sh --extra swanlab"),
        ("env@env.train=maniskill_pick_cube_state", "mani_skill", "install.sh --env maniskill"),
    ],
)
def test_a_package_that_is_not_installed_is_told_before_the_run(
    load_toy: Load, monkeypatch: pytest.MonkeyPatch, override: str, package: str, words: str
) -> None:
    config = load_toy(override).config
    with monkeypatch.context() as patched:
        patched.setattr(preflight, "find_spec", lambda name: None if name == package else _THERE)
        assert [words in problem.fix for problem in preflight.lacking(config)] == [True]
    with monkeypatch.context() as patched:
        patched.setattr(preflight, "find_spec", lambda name: _THERE)
        assert preflight.lacking(config) == []


_THERE = ModuleSpec("there", None)


def test_learning_from_a_data_set_alone_needs_no_simulator(
    tmp_path: Path, laptop: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    overrides = [
        f"runner.logger.log_path={tmp_path}/run",
        "imitation=lerobot",
        f"imitation.data=[{tmp_path}/data]",
    ]
    config = load("quickstart", overrides, laptop, "sft").config
    monkeypatch.setattr(preflight, "find_spec", lambda name: None if "skill" in name else _THERE)
    assert preflight.lacking(config, "sft") == []
    assert "install.sh --env maniskill" in preflight.lacking(config)[0].fix
