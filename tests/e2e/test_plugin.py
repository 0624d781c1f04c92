"""Runs with what is not ours: a simulator and a model of a package outside, another Python."""

from __future__ import annotations

import os
import shutil
import tomllib
from pathlib import Path

import pytest

from tests import pythons
from tests.e2e import runs

PLUGIN = Path(__file__).parents[1] / "plugin"
OVERRIDES = (
    *(f"env.{part}.simulator_type=balance" for part in ("train", "eval")),
    *(f"~env.{part}.init_params" for part in ("train", "eval")),
    *(f"+env.{part}.init_params={{length: 2.0}}" for part in ("train", "eval")),
    *("~actor.model.hidden_dim", "~actor.model.num_layers"),
    *("actor.model.model_type=linear", "actor.model.obs_dim=2", "actor.model.action_dim=1"),
)


def install(folder: Path) -> None:
    """Puts the package and its metadata into a folder, as pip would."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    shutil.copytree(PLUGIN / "rlinf_plugin", folder / "rlinf_plugin")
    about = folder / f"rlinf_plugin-{project['version']}.dist-info"
    about.mkdir()
    about.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {path}" for name, path in entries.items())]
    about.joinpath("entry_points.txt").write_text("\n".join(lines) + "\n")


def test_an_installed_package_registers_a_simulator_and_a_model_that_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    install(tmp_path / "site")
    path = [str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    small = [word for word in runs.SMALL if not word.startswith("actor.model.")]
    runs.run("train", "toy_ppo_mlp", tmp_path / "run", *small, *OVERRIDES, "runner.max_steps=1")
    (record,) = runs.metrics(tmp_path / "run")
    assert record["train/actor/grad_norm"] > 0 and record["env/num_episodes"] > 0


def test_a_run_whose_simulators_have_another_python_gives_the_same_numbers(tmp_path: Path):
    settings = (*runs.SMALL, "runner.max_steps=1")
    runs.run("train", "toy_ppo_mlp", tmp_path / "ours", *settings)
    _, python = sorted(pythons.available().items())[-1]
    other = [f"env.{part}.python={python}" for part in ("train", "eval")]
    runs.run("train", "toy_ppo_mlp", tmp_path / "other", *settings, *other)
    ours, theirs = (runs.metrics(tmp_path / name) for name in ("ours", "other"))
    assert runs.without_times(theirs) == runs.without_times(ours)
