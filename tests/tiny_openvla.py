"""A tiny model folder with random weights in the published layout of OpenVLA."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rlinf.models.files import write_tensors
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla.policy import OpenVlaPolicy
from rlinf.models.prismatic import random_weights

UNNORM_KEY = "tiny_data"
_TOWERS = [
    {
        **{"patch_size": 14, "embed_dim": 16, "depth": 2, "num_heads": 2},
        **{"init_values": 0.1, "reg_tokens": 4, "no_embed_class": True},
    },
    {
        **{"patch_size": 14, "embed_dim": 24, "depth": 2, "num_heads": 2},
        **{"mlp_ratio": 3.7362, "class_token": False, "global_pool": "map"},
    },
]
SETTINGS: dict[str, Any] = {
    "model_type": "openvla",
    "image_sizes": [28, 28],
    "n_action_bins": 256,
    "pad_to_multiple_of": 64,
    "pad_token_id": 32000,
    "timm_model_ids": ["tiny_dino", "tiny_siglip"],
    "timm_model_kwargs": _TOWERS,
    "text_config": {
        **{"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 32064},
    },
}


def write_folder(folder: Path, action_dim: int = 7, seed: int = 0) -> Path:
    """Writes config.json, tokenizer.json and model.safetensors; returns the folder."""
    random_weights.write_folder(folder, SETTINGS, action_dim, UNNORM_KEY)
    config = OpenVlaConfig(
        model_type="openvla",
        model_path=str(folder),
        precision="fp32",
        unnorm_key=UNNORM_KEY,
        action_dim=action_dim,
    )
    policy = OpenVlaPolicy(config)
    random_weights.fill(policy, torch.device("cpu"), seed)
    write_tensors(policy.network.state_dict(), folder / "model.safetensors")
    return folder
