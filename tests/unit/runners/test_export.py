"""From a checkpoint as a run leaves it to a policy folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rlinf.config.load import load
from rlinf.config.schema import Config
from rlinf.errors import UserError
from rlinf.models import shards
from rlinf.models.base import Policy
from rlinf.models.export import write_policy
from rlinf.models.loading import build_policy
from rlinf.models.shards import CONFIG_FILE
from rlinf.runners import checkpoint
from rlinf.runners.export import export
from tests.full_disk import largest_file

Trained = tuple[Config, Policy]


@pytest.fixture
def trained(tmp_path: Path) -> Trained:
    """A run with one checkpoint."""
    folder = f"runner.logger.log_path={tmp_path / 'run'}"
    config = load("toy_ppo_mlp", [folder, "actor.model.hidden_dim=8"]).config
    policy = build_policy(config.actor.model, seed=77)

    def write(folder: Path) -> None:
        state = {shards.POLICY: shards.weights_of(policy)}
        writing = shards.begin_to_write(state, folder / shards.FOLDER, None)
        assert shards.problem_of(writing) is None
        (folder / CONFIG_FILE).write_text(json.dumps(config.model_dump(mode="json")))

    checkpoint.save(tmp_path / "run" / "checkpoints", 3, write, keep=1)
    return config, policy


def test_an_export_acts_as_the_checkpoint(trained: Trained, tmp_path: Path):
    config, policy = trained
    export(tmp_path / "run/checkpoints/latest", tmp_path / "out", adapter=False)
    model = config.actor.model.model_copy(update={"model_path": str(tmp_path / "out")})
    exported = build_policy(model, seed=1)
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, exported.state_dict()[name]), name
    assert sorted(file.name for file in tmp_path.glob("*out*")) == ["out"]


def test_a_folder_that_exists_is_not_overwritten(trained: Trained, tmp_path: Path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="out: it exists already"):
        export(tmp_path / "run/checkpoints/latest", tmp_path / "out", adapter=False)


def test_a_damaged_checkpoint_is_not_exported(trained: Trained, tmp_path: Path):
    (tmp_path / "run/checkpoints/global_step_3" / CONFIG_FILE).write_text("{}")
    with pytest.raises(UserError, match=r"config.json has 2 bytes instead of \d+"):
        export(tmp_path / "run/checkpoints/global_step_3", tmp_path / "out", adapter=False)


def test_a_checkpoint_of_another_version_is_exported_without_what_this_one_does_not_know(
    trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    config, policy = trained
    stored = config.model_dump(mode="json")
    stored["runner"]["of_another_version"] = {"a": 1}
    stored["actor"]["model"]["new_layers"] = 3
    folder = tmp_path / "old"
    shutil.copytree(tmp_path / "run/checkpoints/global_step_3", folder)
    (folder / CONFIG_FILE).write_text(json.dumps(stored))
    write_policy(folder, tmp_path / "out")
    assert "not know: actor.model.new_layers, runner.of_another_version" in caplog.text
    model = config.actor.model.model_copy(update={"model_path": str(tmp_path / "out")})
    exported = build_policy(model, seed=1)
    for name, weight in policy.state_dict().items():
        assert torch.equal(weight, exported.state_dict()[name]), name


@pytest.mark.parametrize("content", ["", "[]", '{"runner": 3}'])
def test_a_checkpoint_without_a_configuration_is_refused(content: str, tmp_path: Path):
    (tmp_path / CONFIG_FILE).write_text(content)
    with pytest.raises(UserError, match="cannot be read as a configuration"):
        write_policy(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_does_not_fit_is_reported_with_how_to_repeat_it(
    trained: Trained, tmp_path: Path
):
    folder = tmp_path / "run/checkpoints/global_step_3"
    with largest_file(1000), pytest.raises(UserError) as caught:
        write_policy(folder, tmp_path / "out")
    assert f"policy cannot be written to {tmp_path}/out: File too large; " in caught.value.message
    assert f"rlinf export {folder}" in caught.value.fix
    assert checkpoint.verify(folder) is None
    assert not list(tmp_path.glob("*out*"))


def test_there_is_no_adapter_where_all_weights_were_trained(trained: Trained, tmp_path: Path):
    with pytest.raises(UserError, match="there is no adapter"):
        export(tmp_path / "run/checkpoints/latest", tmp_path / "out", adapter=True)
    assert not (tmp_path / "out").exists()
