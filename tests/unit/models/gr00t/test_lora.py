"""Adapters of GR00T: which weights train, how many, and that a saved folder is a plain model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rlinf.config.load import load
from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation
from rlinf.errors import UserError
from rlinf.models.base import Sampling
from rlinf.models.export import write_policy
from rlinf.models.gr00t.config import ADAPTED_WIDTHS, Gr00tConfig
from rlinf.models.gr00t.folder import ADAPTED
from rlinf.models.gr00t.policy import Gr00tPolicy
from rlinf.models.gr00t.random_weights import SIZES
from rlinf.models.loading import build_policy
from rlinf.models.shards import CONFIG_FILE
from tests.unit.models.gr00t.golden import Gr00tSet, sets

SAMPLING = Sampling()
NOISE = Noise(derive(1, np.arange(2)))
PARTS = {"head": ("head",), "language": ("language",), "both": ("language", "head")}
FOLDERS = [pytest.param(None, id="tiny"), *sets()]


@pytest.fixture
def place(request: pytest.FixtureRequest, model_folder: Path) -> dict[str, Any]:
    """Settings that name the tiny model, or a recorded one."""
    golden: Gr00tSet | None = request.param
    if golden is None:
        return {"model_path": str(model_folder)}
    return {"model_path": str(golden.checkpoint), "processor_path": str(golden.processor)}


def config_of(place: dict[str, Any], **settings: Any) -> Gr00tConfig:
    given = {"precision": "fp32", "num_action_chunks": 4, **place, **settings}
    return Gr00tConfig(model_type="gr00t", **given)


def build(place: dict[str, Any], **settings: Any) -> Gr00tPolicy:
    policy = build_policy(config_of(place, **settings), 1)
    assert isinstance(policy, Gr00tPolicy)
    return policy


def observed() -> Observation:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 2, 40, 40, 3), dtype=np.uint8)
    return Observation(images, random.normal(size=(2, 8)).astype(np.float32), ("go", "open it"))


def change(policy: Gr00tPolicy) -> None:
    """As training would: every trainable weight moves."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


def actions(policy: Gr00tPolicy) -> np.ndarray:
    return policy.act(observed(), Sampling(greedy=True), NOISE).actions


@pytest.mark.parametrize("place", FOLDERS, indirect=True)
@pytest.mark.parametrize("parts", PARTS)
def test_the_chosen_parts_train_and_nothing_else_does(place: dict[str, Any], parts: str):
    policy = build(place, is_lora=True, lora_parts=parts, lora_rank=2)
    assert np.array_equal(actions(policy), actions(build(place))), "new adapters change nothing"
    change(policy)
    sampled = policy.act(observed(), SAMPLING, NOISE).sampled
    found = policy.evaluate(observed(), sampled, SAMPLING)
    (found.logprobs.sum() + found.values.sum()).backward()
    reached = {name for name, p in policy.named_parameters() if p.grad is not None}
    assert reached <= {name for name, p in policy.named_parameters() if p.requires_grad}
    trained = {
        "language": any("language_model" in name and ".lora_" in name for name in reached),
        "head": any(
            name.startswith("network.action_head") and ".lora_" in name for name in reached
        ),
    }
    assert [part for part, found in trained.items() if found] == list(PARTS[parts])
    whole = any(name.startswith("network.action_head") and ".lora_" not in name for name in reached)
    assert whole == (parts == "language"), "the head's own weights, unless it has adapters"
    assert not any("network.backbone" in name and ".lora_" not in name for name in reached)
    moved = [p for n, p in policy.named_parameters() if ".lora_A." in n]
    assert moved and all(p.grad is not None and p.grad.abs().sum() > 0 for p in moved)


@pytest.mark.parametrize("place", FOLDERS, indirect=True)
@pytest.mark.parametrize("parts", PARTS)
def test_counted_parameters_are_those_that_train(place: dict[str, Any], parts: str):
    settings = {"is_lora": True, "lora_parts": parts, "lora_rank": 3}
    policy, config = build(place, **settings), config_of(place, **settings)
    trained = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    assert config.num_trainable() == trained
    assert config.num_parameters() == sum(p.numel() for p in policy.parameters())
    assert trained < config_of(place).num_trainable() or parts == "language"


@pytest.mark.parametrize("place", FOLDERS, indirect=True)
def test_a_saved_folder_is_a_plain_model_that_acts_alike(place: dict[str, Any], tmp_path: Path):
    policy = build(place, is_lora=True, lora_parts="both", lora_rank=2)
    change(policy)
    policy.save(tmp_path / "out")
    assert not any("lora" in name for name in load_file(tmp_path / "out" / "model.safetensors"))
    plain = build({"model_path": str(tmp_path / "out")})
    assert np.abs(actions(plain) - actions(policy)).max() < 1e-4
    assert np.abs(actions(policy) - actions(build(place))).max() > 1e-3
    policy.load(tmp_path / "out")  # its weights hold the adapters now: those count no more
    assert np.array_equal(actions(plain), actions(policy))


def test_the_published_sizes_are_counted_right():
    hidden, ff, _, heads, key_heads, head = SIZES["3b"].text
    layer = 2 * (hidden + heads * head) + 2 * (hidden + key_heads * head) + 3 * (hidden + ff)
    assert ADAPTED_WIDTHS["language"] == SIZES["3b"].kept_layers * layer
    dit, own = SIZES["3b"].dit[0] * SIZES["3b"].dit[1], 10 * hidden + 8 * hidden
    crossing = 2 * (2 * dit) + 2 * (hidden + dit) + 10 * dit
    pair = crossing + 4 * (2 * dit) + 10 * dit
    assert ADAPTED_WIDTHS["head"] == 4 * own + 8 * pair
    assert ADAPTED.keys() == ADAPTED_WIDTHS.keys()


def test_kept_features_need_a_frozen_backbone(model_folder: Path):
    settings = {"keep_features": True, "is_lora": True}
    config_of({"model_path": str(model_folder)}, **settings)
    with pytest.raises(ValueError, match="keep_features needs a frozen backbone"):
        config_of({"model_path": str(model_folder)}, **settings, lora_parts="both")


def test_an_adapter_alone_is_not_written(model_folder: Path, tmp_path: Path):
    own = [f"actor.model.model_path={model_folder}", "actor.model.processor_path=null"]
    own += ["actor.model.is_lora=true", "cluster.accelerators_per_node=0"]
    config = load("libero_spatial_ppo_gr00t", own).config
    (tmp_path / CONFIG_FILE).write_text(config.model_dump_json())
    with pytest.raises(UserError, match="gr00t are written folded into its weights"):
        write_policy(tmp_path, tmp_path / "out", adapter=True)
