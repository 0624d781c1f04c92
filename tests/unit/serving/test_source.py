"""What `rlinf serve` is given: runs, checkpoints, and folders of policies from other machines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlinf.config.load import load
from rlinf.errors import UserError
from rlinf.models.base import Policy
from rlinf.models.loading import start_policy
from rlinf.runners.export import export
from rlinf.serving.source import configuration
from tests.checkpoints import leave_checkpoint
from tests.tiny_openvla import UNNORM_KEY, write_folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of the toy."""
    log = f"runner.logger.log_path={tmp_path / 'run'}"
    config = load("toy_ppo_mlp", [log, "env.eval.max_episode_steps=17"]).config
    leave_checkpoint(config, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def adapted(tmp_path: Path) -> tuple[Path, Policy]:
    """A run that trained adapters of a tiny OpenVLA, and its policy."""
    model = write_folder(tmp_path / "model")
    settings = (
        f"runner.logger.log_path={tmp_path / 'run'}",
        f"actor.model.model_path={model}",
        f"actor.model.unnorm_key={UNNORM_KEY}",
        "actor.model.precision=fp32",
    )
    return tmp_path / "run", leave_checkpoint(
        load("maniskill_ppo_openvla", settings).config, tmp_path / "run"
    )


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in policy.state_dict().items() if "lora" not in name}


def test_a_run_a_checkpoint_and_its_export_are_the_same_policy(run: Path, tmp_path: Path):
    export(run / "checkpoints/latest", tmp_path / "out", adapter=False)
    given = [run, run / "checkpoints/global_step_3", tmp_path / "out"]
    configs = [configuration(folder, None, [])[0] for folder in given]
    assert [config.env.eval.max_episode_steps for config in configs] == [17] * 3
    first, *others = [weights(start_policy(config)) for config in configs]
    for other in others:
        assert all(torch.equal(weight, first[name]) for name, weight in other.items())


def test_an_exported_folder_tells_nothing_of_the_machine_that_wrote_it(run: Path, tmp_path: Path):
    export(run / "checkpoints/latest", tmp_path / "out", adapter=False)
    assert str(tmp_path) not in (tmp_path / "out" / "config.yaml").read_text()


def test_a_folder_that_does_not_say_its_environment_needs_a_configuration(
    run: Path, tmp_path: Path
):
    out = tmp_path / "out, of a = b"
    export(run / "checkpoints/latest", out, adapter=False)
    (out / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"no config\.yaml in it") as error:
        configuration(out, None, [])
    assert "--config quickstart" in error.value.fix
    config, folder = configuration(out, "toy_ppo_mlp", ["env.eval.max_episode_steps=9"])
    assert (config.env.eval.max_episode_steps, folder) == (9, out)
    assert config.actor.model.model_path == str(out)


def test_a_model_in_the_hubs_layout_is_served_after_export_and_as_published(
    adapted: tuple[Path, Policy], tmp_path: Path
):
    run, policy = adapted
    export(run / "checkpoints/latest", tmp_path / "out", adapter=False)
    assert (tmp_path / "out/config.json").is_file()
    config, _ = configuration(tmp_path / "out", None, [])
    served = weights(start_policy(config))
    assert config.actor.model.model_path == str(tmp_path / "out")
    assert all(
        torch.allclose(served[name], weight, equal_nan=True)
        for name, weight in weights(policy).items()
    )
    published = tmp_path / "model"  # has neither policy.json nor config.yaml
    settings = [f"actor.model.unnorm_key={UNNORM_KEY}"]
    config, _ = configuration(published, "maniskill_ppo_openvla", settings)
    assert config.actor.model.model_path == str(published)


def test_an_adapter_needs_the_model_that_it_adapts(adapted: tuple[Path, Policy], tmp_path: Path):
    run, _ = adapted
    export(run / "checkpoints/latest", tmp_path / "out", adapter=True)
    with pytest.raises(UserError, match="an adapter alone") as error:
        configuration(tmp_path / "out", None, [])
    assert "without --adapter" in error.value.fix
    settings = [
        f"actor.model.model_path={tmp_path / 'model'}",
        f"actor.model.unnorm_key={UNNORM_KEY}",
    ]
    config, _ = configuration(tmp_path / "out", "maniskill_ppo_openvla", settings)
    assert config.actor.model.folders() == {
        "actor.model.model_path": str(tmp_path / "model"),
        "actor.model.lora_path": str(tmp_path / "out"),
    }


def test_what_is_not_read_is_refused(run: Path, tmp_path: Path):
    export(run / "checkpoints/latest", tmp_path / "out", adapter=False)
    for folder in (run, tmp_path / "out"):
        with pytest.raises(UserError, match="configuration of its own"):
            configuration(folder, None, ["actor.seed=1"])
    with pytest.raises(UserError, match="configuration of its own"):
        configuration(run, "toy_ppo_mlp", [])
    for nothing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=f"CKPT = {nothing}"):
            configuration(nothing, None, [])


@pytest.mark.parametrize("content", ["", "a: [", "[1]", "actor: 3"])
def test_a_damaged_configuration_is_named(run: Path, tmp_path: Path, content: str):
    export(run / "checkpoints/latest", tmp_path / "out", adapter=False)
    (tmp_path / "out/config.yaml").write_text(content)
    with pytest.raises(UserError, match=r"out/config\.yaml cannot be read"):
        configuration(tmp_path / "out", None, [])
