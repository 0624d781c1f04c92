"""`rlinf push` against a hub on this machine, through the real client."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load

from rlinf.cli import main
from rlinf.config.load import load as load_config
from rlinf.config.portable import portable
from rlinf.config.schema import Config
from rlinf.errors import UserError
from rlinf.runners.model_card import Licence, model_card
from rlinf.runners.push import licence_of
from tests.checkpoints import leave_checkpoint
from tests.hub import Hub, hub
from tests.tiny_openvla import UNNORM_KEY, write_folder

TOKEN = "hf_secretsecretsecret"
LICENSE = ["--license", "apache-2.0"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one checkpoint of 3 iterations that was evaluated: 24 of 32."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = load_config("toy_ppo_mlp", [f"runner.logger.log_path={folder}"]).config
    leave_checkpoint(config, folder)
    (folder / "eval").mkdir()
    outcome = {"label": "all", "success": 0.75, "low": 0.579, "high": 0.868, "episodes": 32}
    task = {"task": 0, "instruction": "reach | the goal", **outcome}
    content = {"step": 3, "overall": outcome, "groups": {}, "tasks": [task, task]}
    (folder / "eval" / "step_3.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        # The client reads HF_HUB_DISABLE_XET once, maybe in a test before.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield server


def fields_of(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def test_policy_card_and_configuration_arrive(
    run: Path, there: Hub, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["push", str(run), "owner/name", *LICENSE]) == 0
    assert set(there.uploaded) >= {"README.md", "config.yaml", "policy.json", "policy.safetensors"}
    assert load(there.uploaded["policy.safetensors"])
    card = there.uploaded["README.md"].decode()
    fields = fields_of(card)
    (result,) = fields["model-index"][0]["results"]
    assert fields["license"] == "apache-2.0"
    assert result["metrics"][0]["value"] == 75.0
    assert "| reach \\| the goal | 75.0% | 57.9% to 86.8% | 32 |" in card
    assert "Protocol: toy_reach; 64 starts of each task, once each, seed 1000; at most 50" in card
    assert "chosen as the best" not in card and "drew from these starts" not in card
    assert "after 3 iterations of" in card and "rlinf download owner/name" in card
    assert f"uploaded: {there.address}/owner/name" in capsys.readouterr().out
    assert not [path for path in run.iterdir() if path.name.startswith("rlinf-push")]


def test_a_card_says_that_a_checkpoint_was_chosen_by_its_rate_and_what_was_trained_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    for step in (0, 1, 2):
        (copied / "eval" / f"step_{step}.json").write_text("{}")
    (copied / "checkpoints" / "best").write_text("global_step_3\n")
    assert main(["push", str(copied), "owner/name", "--dry-run", *LICENSE]) == 0
    assert "chosen as the best of 3 evaluations of its run" in capsys.readouterr().out
    (copied / "eval" / "step_1.json").unlink()
    (copied / "eval" / "step_2.json").unlink()
    assert main(["push", str(copied), "owner/name", "--dry-run", *LICENSE]) == 0
    assert "chosen as the best" not in capsys.readouterr().out
    recorded = load_config("libero_spatial_ppo_tiny", ["imitation=null"]).config
    outcome = {"label": "all", "success": 0.5, "low": 0.4, "high": 0.6, "episodes": 100}
    content = {"step": 1, "overall": outcome, "groups": {}, "tasks": []}
    card = model_card(recorded, "a/b", 1, content, Licence("mit"), None, False)
    assert "Training drew from these starts too." in card and "after 1 iteration of" in card
    assert "50 starts of each task" in card or "all recorded starts of each task" in card


@pytest.mark.parametrize("content", ['{"step": 3, "ov', "[1]", "{}"])
def test_a_damaged_evaluation_is_an_error_with_its_fix(
    run: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    (copied / "eval" / "step_3.json").write_text(content)
    assert main(["push", str(copied), "owner/name", "--dry-run", *LICENSE]) == 2
    assert "step_3.json is no result file" in capsys.readouterr().err


def test_what_was_uploaded_is_a_policy_that_can_be_evaluated(
    run: Path, there: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(run), "owner/name", *LICENSE]) == 0
    for name, content in there.uploaded.items():
        (tmp_path / name).write_bytes(content)
    command = ["check", str(tmp_path / "config.yaml"), f"runner.ckpt_path={tmp_path}"]
    assert main(command) == 0, capsys.readouterr().err
    assert str(run) not in there.uploaded["config.yaml"].decode()


@pytest.mark.parametrize("adapter", [True, False], ids=["adapter", "whole"])
def test_an_adapter_goes_alone_and_a_model_with_it_folded_in(
    adapter: bool, there: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_folder(tmp_path / "model")
    card = "---\nlicense: mit\n---\n# Base\n"
    (model / "README.md").write_text(card)
    settings = (f"actor.model.model_path={model}", f"actor.model.unnorm_key={UNNORM_KEY}")
    log = f"runner.logger.log_path={tmp_path / 'run'}"
    config = load_config("maniskill_ppo_openvla", [log, *settings]).config
    leave_checkpoint(config, tmp_path / "run")
    options = ["--base", "owner/base", *(["--adapter"] if adapter else [])]
    assert main(["push", str(tmp_path / "run"), "owner/name", *options]) == 0, (
        capsys.readouterr().err
    )
    weights = "adapter_model.safetensors" if adapter else "model.safetensors"
    found = {name for name in there.uploaded if name.endswith(".safetensors")}
    assert weights in found
    assert ("model.safetensors" in found) != adapter
    names = list(load(there.uploaded[weights]))
    assert names and all(("lora" in name) == adapter for name in names)
    shown = there.uploaded["README.md"].decode()
    fields = fields_of(shown)
    assert (fields["license"], fields["base_model"]) == ("mit", "owner/base")
    assert str(tmp_path) not in shown + there.uploaded["config.yaml"].decode()


def test_a_dry_run_prints_all_and_asks_nobody(
    run: Path, there: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(run), "owner/name", "--dry-run", *LICENSE]) == 0
    said = capsys.readouterr().out
    for text in ("policy.safetensors", f"to {there.address}/owner/name", "# name", "nothing was"):
        assert text in said
    assert there.asked == []


def test_a_private_repository_is_made_so_and_a_public_one_refused(
    run: Path, there: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(run), "owner/name", "--private", *LICENSE]) == 0
    assert there.private is True
    there.private, there.uploaded = False, {}
    assert main(["push", str(run), "owner/name", "--private", *LICENSE]) == 2
    assert "is there already, and public" in capsys.readouterr().err
    assert there.uploaded == {}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "does not accept the token"),
        (403, "may not write there"),
        (404, "no such owner"),
        (500, "(answer 500)"),
    ],
)
def test_what_the_hub_answers_is_told_with_what_to_do(
    run: Path, there: Hub, status: int, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there.behave(status)
    assert main(["push", str(run), "owner/name", *LICENSE]) == 2
    printed = capsys.readouterr()
    assert f"answer {status}" in printed.err and reason in printed.err
    assert "fix:" in printed.err and "Traceback" not in printed.err
    assert TOKEN not in printed.out + printed.err


def test_a_hub_that_is_not_there_or_hangs_up_is_told(
    run: Path, there: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    there.behave(cut=True)
    assert main(["push", str(run), "owner/name", *LICENSE]) == 2
    assert "was not uploaded" in capsys.readouterr().err
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(run), "owner/name", *LICENSE]) == 2
    printed = capsys.readouterr()
    assert "Connection refused" in printed.err and "check the connection" in printed.err
    assert TOKEN not in printed.out + printed.err


def test_without_a_token_nothing_is_asked(
    run: Path,
    there: Hub,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert main(["push", str(run), "owner/name", *LICENSE]) == 2
    assert "no login at" in capsys.readouterr().err
    assert there.asked == []


@pytest.mark.parametrize("name", ["name", "owner/name/more", "owner/na me", "/name"])
def test_a_name_that_is_none_is_refused(run: Path, name: str) -> None:
    assert main(["push", str(run), name, *LICENSE]) == 2


def test_a_folder_without_a_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(tmp_path), "owner/name", *LICENSE]) == 2
    assert f"RUN = {tmp_path}" in capsys.readouterr().err


def based_on(folder: Path | None) -> Config:
    config = load_config("toy_ppo_mlp", []).config
    model = config.actor.model.model_copy(update={"model_path": folder and str(folder)})
    return config.model_copy(update={"actor": config.actor.model_copy(update={"model": model})})


def test_the_licence_is_that_of_the_bases_card(tmp_path: Path) -> None:
    card = "---\nlicense: other\nlicense_name: nvidia\nlicense_link: LICENSE\n---\n# Base\n"
    (tmp_path / "README.md").write_text(card)
    found = licence_of(based_on(tmp_path), None, "owner/base")
    assert (found.name, found.title, found.link) == ("other", "nvidia", "LICENSE")
    assert found.source == "It is that of owner/base, as its card says."
    named = licence_of(based_on(tmp_path), "mit", None)
    assert named.name == "mit" and "The card of the base says other" in named.source


@pytest.mark.parametrize(
    "card", [None, "# no fields", "---\nlicense: []\n---\n", "---\na: [\n---\n"]
)
def test_a_licence_that_nobody_names_is_not_guessed(tmp_path: Path, card: str | None) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    for folder in (tmp_path, None):
        with pytest.raises(UserError, match="licence of the weights is not known") as caught:
            licence_of(based_on(folder), None, None)
        assert "--license" in caught.value.fix


def test_the_configuration_that_is_published_names_no_place_of_the_machine(tmp_path: Path) -> None:
    text = portable(based_on(tmp_path))
    assert str(tmp_path) not in text and "log_path" not in text
    assert yaml.safe_load(text)["actor"]["model"]["model_type"] == "mlp"
