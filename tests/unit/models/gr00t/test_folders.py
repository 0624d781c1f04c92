"""Model folders: what is read, what is written, and what is refused with which words."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlinf.errors import UserError
from rlinf.models import files
from rlinf.models.gr00t import folder as folders
from rlinf.models.gr00t import network
from rlinf.models.gr00t.embodiments import BUILT_IN, embodiment
from rlinf.models.gr00t.network import Gr00t

EMBEDDING = "backbone.eagle_model.language_model.model.embed_tokens.weight"


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def load(path: Path) -> Gr00t:
    folder = folders.read(path, None)
    found = Gr00t(folder)
    found.load_state_dict(network.read(folder, found.state_dict(), torch.float32)[0])
    return found


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def refusal(path: Path, processor: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        folders.read(path, processor)
    return f"{caught.value.message} | {caught.value.fix}"


def test_what_is_saved_holds_the_same_weights_under_the_same_names(copy: Path, tmp_path: Path):
    folder, out = folders.read(copy, None), tmp_path / "out"
    network.write(load(copy).state_dict(), out, folder, folder.metadata)
    before, after = load_file(copy / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    again = folders.read(out, None)
    assert again.metadata == folder.metadata and again.head == folder.head


def test_shards_are_written_and_read(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "_SHARD_BYTES", 100_000)
    folder, out, before = folders.read(copy, None), tmp_path / "out", load(copy).state_dict()
    network.write(before, out, folder, folder.metadata)
    assert len(list(out.glob("model-*.safetensors"))) > 1
    assert all(torch.equal(before[name], t) for name, t in load(out).state_dict().items())


def test_the_word_embedding_may_stand_under_the_name_of_the_output(copy: Path):
    weights = load_file(copy / "model.safetensors")
    embedding = weights.pop(EMBEDDING)
    weights["backbone.eagle_model.language_model.lm_head.weight"] = embedding
    save_file(weights, copy / "model.safetensors")
    assert torch.equal(load(copy).state_dict()[EMBEDDING], embedding)


def test_missing_processor_files_are_named_with_the_place_to_get_them(copy: Path):
    (copy / "processor" / "tokenizer.json").unlink()
    (copy / "processor").rename(copy / "elsewhere")
    assert "rlinf download lerobot/eagle2hg-processor-groot-n1p5" in refusal(copy)
    assert "tokenizer.json" in refusal(copy, copy / "elsewhere")


def test_another_model_is_refused(copy: Path):
    change(copy / "config.json", model_type="gr00t_n1_7")
    assert "gr00t_n1_7, not gr00t_n1_5" in refusal(copy)


def test_a_setting_that_is_missing_is_named(copy: Path):
    settings = json.loads((copy / "config.json").read_text())
    del settings["action_head_cfg"]["action_horizon"]
    (copy / "config.json").write_text(json.dumps(settings))
    assert "action_horizon" in refusal(copy)


def test_an_architecture_that_is_not_ours_is_refused(copy: Path):
    change(copy / "config.json", backbone_cfg={"select_layer": 1, "project_to_dim": 8})
    assert "project_to_dim = 8" in refusal(copy)


def test_weights_that_are_missing_or_of_another_shape_are_named(copy: Path):
    weights = load_file(copy / "model.safetensors")
    save_file({n: t for n, t in weights.items() if n != EMBEDDING}, copy / "model.safetensors")
    with pytest.raises(UserError, match=re.escape(EMBEDDING)):
        load(copy)
    save_file({**weights, EMBEDDING: torch.zeros(9, 16)}, copy / "model.safetensors")
    with pytest.raises(UserError, match=r"shape \[9, 16\]"):
        load(copy)


def test_an_unknown_embodiment_is_answered_with_those_there_are(model_folder: Path):
    with pytest.raises(UserError) as caught:
        embodiment("libero_frank", folders.read(model_folder, None))
    assert "maniskill_widowx" in caught.value.message and "libero_franka" in caught.value.fix


def test_missing_statistics_are_answered_with_those_there_are(model_folder: Path):
    with pytest.raises(UserError, match="it has those of libero_franka, maniskill_widowx"):
        folders.read(model_folder, None).statistics("isaaclab_franka")


def test_an_embodiment_can_be_a_file(tmp_path: Path, model_folder: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "tag: libero_franka\nslot: 31\nviews: [main]\nreads: {joints: 7, fingers: 2}\n"
        "state: {arm: 'joints[0:6]', gripper: fingers}\naction: [x, y]\n"
    )
    mine = embodiment(str(path), folders.read(model_folder, None))
    assert {key: places.tolist() for key, places in mine.columns().items()} == {
        "arm": [0, 1, 2, 3, 4, 5],
        "gripper": [7, 8],
    }


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("tag: a\nslots: 3\n", "slots"),
        ("tag: a\nslot: 1\nviews: []\nreads: {j: 2}\nstate: {a: k}\naction: [a]\n", "state.a = k"),
    ],
)
def test_a_file_that_describes_no_embodiment_is_refused(
    tmp_path: Path, model_folder: Path, text: str, named: str
):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError, match=re.escape(named)):
        embodiment(str(tmp_path / "mine.yaml"), folders.read(model_folder, None))


def test_a_new_embodiment_is_what_the_metadata_says(copy: Path):
    path = copy / "experiment_cfg" / "metadata.json"
    tags = json.loads(path.read_text())
    path.write_text(json.dumps({"new_embodiment": tags["libero_franka"]}))
    found = embodiment("new_embodiment", folders.read(copy, None))
    assert found.views == ("main", "wrist") and found.reads["gripper"] == 2
    assert found.action == BUILT_IN["libero_franka"].action


@pytest.mark.parametrize("page", ["source-en/guides/gr00t.md", "source-zh/guides/gr00t.md"])
def test_the_example_of_the_docs_is_an_embodiment(page: str, tmp_path: Path, model_folder: Path):
    text = (Path(__file__).parents[4] / "docs" / page).read_text()
    (tmp_path / "mine.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    found = embodiment(str(tmp_path / "mine.yaml"), folders.read(model_folder, None))
    assert found.columns()["gripper"].tolist() == [6, 7]
