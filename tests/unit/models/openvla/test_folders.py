"""Model folders: what is read, what is written, and what is refused with which words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaForCausalLM

from rlinf.data.types import Observation
from rlinf.errors import UserError
from rlinf.models import files
from rlinf.models.base import Sampling
from rlinf.models.prismatic.llama import llama_config
from tests.unit.models.openvla.conftest import NOISE, B, Build, config_of

GREEDY = Sampling(greedy=True)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "model")


def change_settings(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def problems(folder: Path, **settings: object) -> str:
    return "\n".join(f"{p.message} | {p.fix}" for p in config_of(folder, **settings).problems())


def test_a_sound_folder_has_no_problems(folder: Path):
    assert problems(folder) == ""


@pytest.mark.parametrize("form", ["shards", "bin", "bin_shards"])
def test_weights_load_from_shards_and_bin_files(
    form: str, copy: Path, build: Build, observation: Observation
):
    whole = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    names = sorted(whole)
    parts = [names] if form == "bin" else [names[::2], names[1::2]]
    kind = "model.safetensors" if form == "shards" else "pytorch_model.bin"
    weight_map = {}
    for number, part in enumerate(parts):
        tensors = {name: whole[name] for name in part}
        if form == "shards":
            save_file(tensors, copy / f"part{number}.safetensors")
        else:
            torch.save(tensors, copy / (kind if form == "bin" else f"part{number}.bin"))
        weight_map |= dict.fromkeys(part, f"part{number}.{kind.rpartition('.')[2]}")
    if form != "bin":
        (copy / f"{kind}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    expected = build().act(observation, GREEDY, NOISE)
    found = build(model_path=copy).act(observation, GREEDY, NOISE)
    assert problems(copy) == ""
    assert np.array_equal(found.logprobs, expected.logprobs)


def test_a_saved_folder_loads_in_transformers_and_acts_alike(
    build: Build, observation: Observation, tmp_path: Path
):
    policy = build()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    policy.save(tmp_path / "saved")
    again = build(model_path=tmp_path / "saved")
    expected = policy.act(observation, GREEDY, NOISE)
    found = again.act(observation, GREEDY, NOISE)
    assert np.array_equal(found.logprobs, expected.logprobs)
    assert np.array_equal(found.values, expected.values)  # the critic travels with it

    state = load_file(tmp_path / "saved/model.safetensors")
    prefix = "language_model."
    llama = LlamaForCausalLM(llama_config(policy.folder.architecture, "sdpa"))
    llama.load_state_dict(
        {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    )
    ids = torch.tensor([[1, 5, 9, 31800]])
    theirs = llama.eval()(ids).logits
    attending = policy.attending(torch.ones(1, 4, dtype=torch.bool), causal=True)
    ours = policy.network.logits(policy.network.read(policy.network.embed(ids), attending))
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_saved_folder_keeps_names_statistics_tokenizer_and_recipe(
    build: Build, folder: Path, tmp_path: Path
):
    build(recipe="rlinf", center_crop=True).save(tmp_path)
    assert (
        load_file(tmp_path / "model.safetensors").keys()
        == load_file(folder / "model.safetensors").keys()
    )
    assert (tmp_path / "tokenizer.json").read_text() == (folder / "tokenizer.json").read_text()
    again = build(model_path=tmp_path)
    assert (again.recipe.end_token, again.recipe.center_crop) == (False, True)
    assert again.unnorm_key == build().unnorm_key


def test_large_folders_are_written_in_shards(
    build: Build, observation: Observation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "_SHARD_BYTES", 4_000_000)
    policy = build()
    policy.save(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1 and problems(tmp_path) == ""
    found = build(model_path=tmp_path).act(observation, GREEDY, NOISE)
    assert np.array_equal(found.logprobs, policy.act(observation, GREEDY, NOISE).logprobs)


def test_transformers_reads_the_same_tokens_without_running_code(build: Build, folder: Path):
    golden_like = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    text = "In: What action should the robot take to push the cube?\nOut:"
    ours = build().prompts.ids("Push the cube")
    assert ours == [1, *golden_like(text, add_special_tokens=False)["input_ids"], 29871]


def test_separate_statistics_win_over_those_in_the_config(copy: Path, build: Build):
    statistics = json.loads((copy / "config.json").read_text())["norm_stats"]["tiny_data"]
    statistics["action"]["q99"] = [3.0] * 7
    (copy / "dataset_statistics.json").write_text(json.dumps({"tiny_data": statistics}))
    highest = build(model_path=copy).decode(torch.full((7,), 31745))
    assert highest[0] == pytest.approx(-1 + 0.5 * 1.99608 * 4, abs=1e-4)


def test_missing_statistics_are_named(copy: Path):
    change_settings(copy, norm_stats={})
    assert "dataset_statistics.json" in problems(copy)
    change_settings(copy, norm_stats={"tiny_data": {"action": {"mean": [0.0]}}})
    assert "have no action.q01" in problems(copy)
    action = {"q01": [0.0] * 7, "min": "none"}
    change_settings(copy, norm_stats={"tiny_data": {"action": action}})
    assert "have no numbers in action.min" in problems(copy)


def test_another_action_dimension_is_refused(folder: Path, build: Build):
    assert "set actor.model.action_dim=7" in problems(folder, action_dim=6)
    with pytest.raises(UserError, match="have 7 dimensions"):
        build(action_dim=6)


def test_a_folder_without_weights_is_refused(copy: Path, build: Build):
    (copy / "model.safetensors").unlink()
    assert "holds no weights" in problems(copy) and "rlinf download" in problems(copy)
    with pytest.raises(UserError, match="holds no weights"):
        build(model_path=copy)


def test_a_truncated_file_is_refused_before_and_at_the_start(copy: Path, build: Build):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "model.safetensors is truncated" in problems(copy)
    with pytest.raises(UserError, match="cannot be read"):
        build(model_path=copy)
    path.write_bytes(b"abc")
    assert "truncated or no safetensors file" in problems(copy)


def test_a_missing_shard_is_named(copy: Path):
    (copy / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "lacks model-1.safetensors, model-2.safetensors" in problems(copy)


def test_a_truncated_bin_file_is_refused(copy: Path, build: Build):
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    data = (copy / "pytorch_model.bin").read_bytes()
    (copy / "pytorch_model.bin").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        build(model_path=copy)


def test_a_wrong_vocabulary_is_refused(copy: Path, build: Build):
    text = json.loads((copy / "config.json").read_text())["text_config"]
    change_settings(copy, text_config=text | {"vocab_size": 32128})
    assert "the embedding has 32064 rows" in problems(copy)
    with pytest.raises(UserError, match="has shape"):
        build(model_path=copy)


def test_weights_of_another_model_are_refused(copy: Path, build: Build):
    state = load_file(copy / "model.safetensors")
    state.pop("projector.fc1.weight")
    save_file(state, copy / "model.safetensors")
    with pytest.raises(UserError, match=r"lack projector\.fc1\.weight"):
        build(model_path=copy)


def test_a_damaged_config_is_refused(copy: Path):
    (copy / "config.json").write_text("{")
    assert "config.json cannot be read" in problems(copy)
    (copy / "config.json").write_text("{}")
    assert "does not describe an OpenVLA model" in problems(copy)


def test_a_missing_tokenizer_is_named(copy: Path):
    (copy / "tokenizer.json").unlink()
    assert "lacks tokenizer.json" in problems(copy)


def test_counted_parameters_are_those_of_the_network(folder: Path, build: Build):
    policy, config = build(), config_of(folder)
    assert config.num_parameters() == sum(p.numel() for p in policy.parameters())
    trainable = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    assert config.num_trainable() == trainable


def test_proprio_is_one_more_token_that_matters(
    copy: Path, build: Build, observation: Observation, tmp_path: Path
):
    with pytest.raises(UserError, match="has neither proprio_projector"):
        build(model_path=copy, use_proprio=True)
    width = 24
    state = {
        "module.fc1.weight": 3 * torch.randn(width, 6),
        "module.fc1.bias": torch.zeros(width),
        "module.fc2.weight": 3 * torch.randn(width, width),
        "module.fc2.bias": torch.zeros(width),
    }
    torch.save(state, copy / "proprio_projector--100_checkpoint.pt")
    policy = build(model_path=copy, use_proprio=True)
    embedded, real = policy.context(observation)
    assert (
        embedded.shape[1]
        == real.shape[1]
        == 4 + 1 + build().prompts.batch(observation.instructions)[0].shape[1]
    )
    other = Observation(observation.images, -observation.state, observation.instructions)
    shown = policy.act(observation, GREEDY, NOISE).logprobs
    assert not np.allclose(shown, policy.act(other, GREEDY, NOISE).logprobs)
    policy.save(tmp_path / "saved")
    again = build(model_path=tmp_path / "saved", use_proprio=True)
    assert np.array_equal(again.act(observation, GREEDY, NOISE).logprobs, shown)
    stateless = Observation(observation.images, np.zeros((B, 0), np.float32), ("",) * B)
    with pytest.raises(UserError, match="use_proprio=false"):
        policy.act(stateless, GREEDY, NOISE)


def test_more_images_than_the_simulator_shows_are_refused(build: Build, observation: Observation):
    with pytest.raises(UserError, match="the simulator shows 2"):
        build(num_images_in_input=3).act(observation, GREEDY, NOISE)
