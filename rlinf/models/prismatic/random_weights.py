"""Model folders with random weights: to try, test and time what needs a 7B download."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn

from rlinf.config.base import Precision
from rlinf.models import random_weights
from rlinf.models.files import write_tensors
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla.policy import OpenVlaPolicy
from rlinf.models.openvla_oft.config import OpenVlaOftConfig
from rlinf.models.openvla_oft.policy import OpenVlaOftPolicy
from rlinf.models.prismatic.model_folder import SETTINGS_FILE
from rlinf.models.prismatic.policy import PrismaticPolicy

DATA_SET = "none"
"""Whose statistics a folder of `build` has."""
_COMMON: dict[str, Any] = {
    "model_type": "openvla",
    "n_action_bins": 256,
    "pad_to_multiple_of": 64,
    "pad_token_id": 32000,
}
_DINO = {"patch_size": 14, "init_values": 1e-5, "reg_tokens": 4, "no_embed_class": True}
_SIGLIP = {"patch_size": 14, "mlp_ratio": 3.7362, "class_token": False, "global_pool": "map"}


def _towers(dino: int, siglip: int, depth: int, heads: int) -> dict[str, Any]:
    """Vision towers of these widths."""
    return {
        "timm_model_ids": ["dino", "siglip"],
        "timm_model_kwargs": [
            {**_DINO, "embed_dim": dino, "depth": depth, "num_heads": heads},
            {**_SIGLIP, "embed_dim": siglip, "depth": depth, "num_heads": heads},
        ],
    }


def _text(width: int, mlp: int, layers: int, heads: int) -> dict[str, Any]:
    """A language model of these sizes."""
    return {
        "text_config": {
            "hidden_size": width,
            "intermediate_size": mlp,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "vocab_size": 32064,
        }
    }


_SMALL, _USUAL = {"image_sizes": [28, 28]}, {"image_sizes": [224, 224]}
SIZES: dict[str, dict[str, Any]] = {
    "tiny": _COMMON | _SMALL | _towers(16, 24, 2, 2) | _text(24, 40, 2, 2),
    "mid": _COMMON | _USUAL | _towers(256, 256, 6, 4) | _text(512, 1376, 8, 8),
    "1b": _COMMON | _USUAL | _towers(384, 384, 12, 6) | _text(2048, 5504, 20, 16),
    "7b": {
        **_COMMON,
        **_USUAL,
        "timm_model_ids": [
            "vit_large_patch14_reg4_dinov2.lvd142m",
            "vit_so400m_patch14_siglip_224",
        ],
        "text_config": {"vocab_size": 32064},
    },
}
"""Sizes in the words of `config.json`; `7b` are the published ones."""

_WORDS = "In: What action should the robot take to push put cube carrot on plate goal ? Out:"


def write_folder(folder: Path, settings: Mapping[str, Any], action_dim: int, name: str) -> Path:
    """Writes `config.json` and a tokenizer with a few words; weights are left to others.

    Args:
        settings: `config.json` without statistics.
        action_dim: size of an action; all lie in -1..1, and the last is not scaled.
        name: data set of the statistics.
    """
    folder.mkdir(parents=True, exist_ok=True)
    action = {
        "q01": [-1.0] * action_dim,
        "q99": [1.0] * action_dim,
        "mask": [True] * (action_dim - 1) + [False],
    }
    statistics = {name: {"action": action, "proprio": {"q01": [-1.0] * 6, "q99": [1.0] * 6}}}
    (folder / SETTINGS_FILE).write_text(json.dumps({**settings, "norm_stats": statistics}))
    words = {"<unk>": 0, "<s>": 1, "</s>": 2}
    for word in _WORDS.split():
        words[word] = len(words)
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@torch.no_grad()
def fill(policy: PrismaticPolicy, device: torch.device, seed: int) -> None:
    """Gives a policy random weights on a device, where it would otherwise load them."""
    network = policy.network
    network.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    random_weights.fill(network, generator)
    head = network.language_model.lm_head
    assert isinstance(head, nn.Linear)
    head.weight.normal_(0.0, 0.1, generator=generator)  # else all tokens are equally likely
    network.restore_buffers()
    policy.to(device)
    policy.begin_training_form()


def build(
    folder: Path, size: str, parallel: bool, precision: Precision, device: str, **settings: Any
) -> PrismaticPolicy:
    """A policy with random weights on a device.

    Args:
        folder: for its `config.json` and tokenizer.
        size: one of `SIZES`.
        parallel: OpenVLA-OFT, else OpenVLA.
        settings: of its configuration.
    """
    write_folder(folder, SIZES[size], action_dim=7, name=DATA_SET)
    given = {"model_path": str(folder), "precision": precision, "unnorm_key": DATA_SET} | settings
    policy: PrismaticPolicy
    if parallel:
        policy = OpenVlaOftPolicy(OpenVlaOftConfig(model_type="openvla_oft", **given))
    else:
        policy = OpenVlaPolicy(OpenVlaConfig(model_type="openvla", **given))
    fill(policy, torch.device(device), seed=0)
    return policy


def write_model(folder: Path, size: str, device: str) -> Path:
    """Writes a folder of OpenVLA with random weights, as `actor.model.model_path` names one."""
    policy = build(folder, size, False, "bf16", device)
    write_tensors(policy.network.state_dict(), folder / "model.safetensors")
    return folder
