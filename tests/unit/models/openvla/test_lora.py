"""Adapters: what they train, what they change, and how they travel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import Linear
from safetensors.torch import load_file, save_file

from rlinf.data.types import Observation
from rlinf.errors import UserError
from rlinf.models import adapters
from rlinf.models.adapted import AdaptedLinear
from rlinf.models.base import Sampling
from rlinf.models.loading import build_policy
from rlinf.models.openvla_oft.config import OpenVlaOftConfig
from rlinf.models.prismatic.policy import PrismaticPolicy
from tests.tiny_openvla import write_folder
from tests.unit.models.openvla.conftest import NOISE, Build, config_of

SAMPLING = Sampling(temperature=0.8)


def change(policy: PrismaticPolicy) -> None:
    """As training would: every trainable weight moves."""
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


def same(first: PrismaticPolicy, second: PrismaticPolicy, observation: Observation) -> bool:
    chunks = [policy.act(observation, SAMPLING, NOISE) for policy in (first, second)]
    return np.allclose(chunks[0].logprobs, chunks[1].logprobs, atol=2e-5)


@pytest.mark.parametrize("model", ["openvla", "openvla_oft"])
def test_fresh_adapters_change_nothing(model: str, build: Build, observation: Observation):
    assert same(build(model), build(model, is_lora=True, lora_rank=4), observation)


@pytest.mark.parametrize("model", ["openvla", "openvla_oft"])
def test_only_adapters_and_critic_are_trained(model: str, build: Build, observation: Observation):
    policy = build(model, is_lora=True, lora_rank=4)
    change(policy)
    chunk = policy.act(observation, SAMPLING, NOISE)
    policy.evaluate(observation, chunk.sampled, SAMPLING).logprobs.sum().backward()
    for name, parameter in policy.network.named_parameters():
        if parameter.requires_grad:
            assert ".lora_" in name
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        else:
            assert parameter.grad is None, name


def test_counted_parameters_are_those_that_train(folder: Path, build: Build):
    config, policy = config_of(folder, is_lora=True, lora_rank=4), build(is_lora=True, lora_rank=4)
    trainable = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    assert config.num_trainable() == trainable


@pytest.mark.parametrize("shape", [(12,), (3, 12), (2, 3, 12)])
@pytest.mark.parametrize("biased", [True, False])
def test_an_adapted_layer_gives_what_peft_gives_and_learns_the_same(shape, biased: bool):
    base = torch.nn.Linear(12, 8, bias=biased).requires_grad_(False)
    config = LoraConfig(r=4, lora_dropout=0.0, init_lora_weights=False)
    ours, theirs = (
        kind(base, "default", config, r=4, lora_alpha=6) for kind in (AdaptedLinear, Linear)
    )
    theirs.load_state_dict(ours.state_dict())
    x, pull = torch.randn(shape), torch.randn(*shape[:-1], 8)
    found = []
    for layer in (ours, theirs):
        given = x.clone().requires_grad_(True)
        y = layer(given)
        (y * pull).sum().backward()
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        found.append((y, given.grad, down.grad, up.grad))
    assert not torch.allclose(found[0][0], base(x), atol=1e-3)
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


def test_an_adapter_that_is_off_or_folded_in_or_of_another_precision_is_applied_as_peft_does():
    config = LoraConfig(r=4, init_lora_weights=False)
    layer = AdaptedLinear(torch.nn.Linear(12, 8), "default", config, r=4, lora_alpha=6)
    x = torch.randn(3, 12)
    adapted = layer(x)
    layer.enable_adapters(False)
    assert torch.equal(layer(x), layer.base_layer(x))
    layer.enable_adapters(True)
    layer.merge()
    torch.testing.assert_close(layer(x), adapted)
    layer.unmerge()
    layer.base_layer.bfloat16()
    assert layer(x.bfloat16()).dtype == torch.bfloat16


def test_every_linear_layer_and_patch_convolution_is_adapted(build: Build):
    network = build(is_lora=True, lora_rank=4).network
    plain = {
        name.removesuffix(".base_layer")
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and ".lora_" not in name
    }
    assert {name for name, _ in adapters.adapted(network)} == plain


def test_a_saved_adapter_is_a_peft_adapter(build: Build, observation: Observation, tmp_path: Path):
    policy = build(is_lora=True, lora_rank=4)
    change(policy)
    policy.save(tmp_path)
    again = build(is_lora=True, lora_path=str(tmp_path))
    again.load(tmp_path)  # the critic; as a checkpoint does
    assert same(policy, again, observation)

    plain = build()
    PeftModel.from_pretrained(plain.network, tmp_path)  # puts the adapters into the network
    plain.value_head = policy.value_head
    assert same(policy, plain, observation)


def test_a_merged_model_is_a_plain_one_with_the_same_logits(
    build: Build, observation: Observation, tmp_path: Path
):
    policy = build(is_lora=True, lora_rank=4)
    change(policy)
    policy.save(tmp_path, merge=True)
    assert same(policy, build(model_path=tmp_path), observation)
    names = load_file(tmp_path / "model.safetensors")
    assert not any("lora" in name or "base_layer" in name for name in names)


def test_scale_is_alpha_over_rank(build: Build, observation: Observation, tmp_path: Path):
    policy = build(is_lora=True, lora_rank=4)
    change(policy)
    policy.save(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (4, 4)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 8}))
    doubled = build(is_lora=True, lora_path=str(tmp_path))
    with torch.no_grad():
        for name, parameter in policy.network.named_parameters():
            if ".lora_B." in name:
                parameter.mul_(2)
    assert same(policy, doubled, observation)


def test_an_adapter_of_another_model_is_refused(build: Build, tmp_path: Path):
    build(is_lora=True, lora_rank=4).save(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    state = load_file(path)
    wrong = {n: t[:, :-1].contiguous() if "o_proj.lora_A" in n else t for n, t in state.items()}
    save_file(wrong, path)
    with pytest.raises(UserError, match=r"does not fit the model: 2 of \d+ weights"):
        build(is_lora=True, lora_path=str(tmp_path))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read"):
        build(is_lora=True, lora_path=str(tmp_path))


def test_an_adapter_in_place_of_a_model_is_refused_with_the_key_to_use(
    build: Build, tmp_path: Path
):
    build(is_lora=True, lora_rank=4).save(tmp_path)
    found = "\n".join(p.message + p.fix for p in config_of(tmp_path).problems())
    assert "this is a LoRA adapter" in found and "actor.model.lora_path" in found


def put(model: Path, adapter: Path) -> OpenVlaOftConfig:
    return config_of(model, is_lora=True, lora_path=str(adapter))


def problems(model: Path, adapter: Path) -> str:
    return "\n".join(p.message for p in put(model, adapter).problems())


def trained(build: Build, at: Path, seed: int = 0, **settings: object) -> PrismaticPolicy:
    """Of an adapter that has learned something, which is saved."""
    policy = build(is_lora=True, lora_rank=4, **settings)
    torch.manual_seed(seed)
    change(policy)
    policy.save(at)
    return policy


def forget_record(folder: Path) -> None:
    """As a model that others merged, or an adapter that others trained."""
    (folder / "rlinf_adapter.json").unlink(missing_ok=True)
    for name, key in (("config.json", "rlinf"), ("adapter_config.json", "base_model_name_or_path")):
        if (folder / name).is_file():
            settings = json.loads((folder / name).read_text())
            settings.pop(key, None)
            (folder / name).write_text(json.dumps(settings))


def test_an_adapter_is_recognised_in_a_model_whatever_it_is_called(
    build: Build, folder: Path, tmp_path: Path
):
    policy = trained(build, tmp_path / "adapter")
    policy.save(tmp_path / "merged", merge=True)
    renamed = shutil.copytree(tmp_path / "adapter", tmp_path / "another name")
    assert problems(folder, renamed) == ""
    assert "by the record in its config.json" in problems(tmp_path / "merged", renamed)
    # Another one of the usual name, trained on the export, is welcome.
    other = tmp_path / "elsewhere/adapter"
    trained(build, other, seed=1, model_path=tmp_path / "merged")
    assert problems(tmp_path / "merged", other) == ""


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_without_a_record_the_weights_tell_that_an_adapter_is_in_them(
    form: str, build: Build, folder: Path, tmp_path: Path
):
    trained(build, tmp_path / "adapter").save(tmp_path / "merged", merge=True)
    trained(build, tmp_path / "other", seed=1)
    for name in ("adapter", "other", "merged"):
        forget_record(tmp_path / name)
    if form == "bin":
        weights = tmp_path / "merged/model.safetensors"
        torch.save(load_file(weights), tmp_path / "merged/pytorch_model.bin")
        weights.unlink()
    found = problems(tmp_path / "merged", tmp_path / "adapter")
    share = float(found.partition("which hold ")[2].split()[0])
    assert share == pytest.approx(1, abs=0.1) and "already folded into" in found
    assert problems(folder, tmp_path / "adapter") == ""
    assert problems(tmp_path / "merged", tmp_path / "other") == ""


def test_what_an_adapter_was_trained_from_is_recognised_too(
    build: Build, folder: Path, tmp_path: Path
):
    trained(build, tmp_path / "first")
    second = build(is_lora=True, lora_path=str(tmp_path / "first"))
    change(second)
    second.save(tmp_path / "second")
    third = build(is_lora=True, lora_path=str(tmp_path / "second"))
    third.save(tmp_path / "merged", merge=True)
    for name in ("first", "second"):
        assert "by the record" in problems(tmp_path / "merged", tmp_path / name)
    assert problems(folder, tmp_path / "second") == ""


def test_an_export_takes_the_place_of_model_and_adapter(
    build: Build, folder: Path, observation: Observation, tmp_path: Path
):
    policy = trained(build, tmp_path / "adapter")
    used = put(folder, tmp_path / "adapter")
    build_policy(used, seed=1).save(tmp_path / "export", merge=True)
    whole = build_policy(used.starting_from(tmp_path / "export"), seed=1)
    assert same(policy, whole, observation)
    # An adapter brings its critic along.
    again = build_policy(config_of(folder).starting_from(tmp_path / "adapter"), seed=2)
    values = [p.act(observation, SAMPLING, NOISE).values for p in (policy, again)]
    assert np.array_equal(*values)


def test_an_adapter_on_other_weights_is_refused_and_on_a_copy_of_its_base_it_is_not(
    build: Build, folder: Path, tmp_path: Path
):
    trained(build, tmp_path / "adapter")
    copy = shutil.copytree(folder, tmp_path / "a copy")
    state = {n: t.bfloat16() for n, t in load_file(copy / "model.safetensors").items()}
    names = sorted(state)
    (copy / "model.safetensors").unlink()
    shards = {"1.safetensors": names[::2], "2.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: state[name] for name in part}, copy / file)
    index = {name: file for file, part in shards.items() for name in part}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert problems(copy, tmp_path / "adapter") == ""  # in bf16 and shards, and the same
    other = write_folder(tmp_path / "other", seed=3)
    refused = f"was trained on {folder}, and the weights of {other} are others"
    assert refused in problems(other, tmp_path / "adapter")
    # Nothing recorded, and the base is still there under the name in adapter_config.json.
    (tmp_path / "adapter/rlinf_adapter.json").unlink()
    assert refused in problems(other, tmp_path / "adapter")
    assert problems(copy, tmp_path / "adapter") == ""


def test_a_base_that_is_known_by_name_alone_is_compared_by_name(
    build: Build, folder: Path, tmp_path: Path
):
    adapter = tmp_path / "adapter"
    trained(build, adapter)
    forget_record(adapter)

    def warnings(base: str, model: Path) -> list[str]:
        path = adapter / "adapter_config.json"
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": base})
        )
        assert problems(model, adapter) == ""
        return list(put(model, adapter).warnings())

    base, nested = "Someone/Openvla-oft-SFT-libero10-trajall", "snapshots/0a1b"
    (warning,) = warnings(base, folder)
    assert f"was trained on {base}" in warning and str(folder) in warning
    for name in ("openvla-oft-sft-libero10-trajall", f"models--{base.replace('/', '--')}/{nested}"):
        assert warnings(base, shutil.copytree(folder, tmp_path / name)) == []
    assert warnings(f"/gone/{folder.name}/", folder) == []
    assert warnings(".", folder) == []  # names nothing
    renamed = shutil.copytree(folder, tmp_path / "renamed")
    settings = json.loads((renamed / "config.json").read_text()) | {"_name_or_path": base}
    (renamed / "config.json").write_text(json.dumps(settings))
    assert warnings(base, renamed) == []


def test_an_adapter_takes_its_recipe_along(build: Build, folder: Path, tmp_path: Path):
    trained(build, tmp_path / "adapter", recipe="rlinf", center_crop=True)
    found = put(folder, tmp_path / "adapter").resolved_recipe()
    assert (found.end_token, found.image_path, found.center_crop) == (False, "tensor", True)
    assert found.origin == "noted beside the adapter"


def test_an_adapter_without_weights_is_named(build: Build, folder: Path, tmp_path: Path):
    trained(build, tmp_path / "adapter")
    (tmp_path / "adapter/adapter_model.safetensors").unlink()
    assert "adapter_model.safetensors is missing" in problems(folder, tmp_path / "adapter")


def test_an_adapter_that_would_not_be_read_is_refused(folder: Path, tmp_path: Path):
    config = config_of(folder, lora_path=str(tmp_path))
    assert "would not be read" in "\n".join(p.message for p in config.problems())


def test_other_kinds_of_adapters_are_refused(build: Build, tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"use_dora": True, "r": 4}))
    with pytest.raises(UserError, match="use_dora = True is not supported"):
        build(is_lora=True, lora_path=str(tmp_path))
