"""A tiny model folder with random weights in the published layout of OpenVLA."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from rlinf.config.openvla import read_folder
from rlinf.models.files import write_tensors
from rlinf.models.prismatic.network import Prismatic

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


def statistics(action_dim: int) -> dict[str, Any]:
    """Of actions between -1 and 1; the last dimension, a gripper, is not scaled."""
    return {
        "action": {
            "q01": [-1.0] * action_dim,
            "q99": [1.0] * action_dim,
            "mask": [True] * (action_dim - 1) + [False],
        },
        "proprio": {"q01": [-1.0] * 6, "q99": [1.0] * 6},
    }


def write_folder(folder: Path, action_dim: int = 7, seed: int = 0) -> Path:
    """Writes config.json, tokenizer.json and model.safetensors; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {**SETTINGS, "norm_stats": {UNNORM_KEY: statistics(action_dim)}}
    (folder / "config.json").write_text(json.dumps(settings))
    words = {"<unk>": 0, "<s>": 1, "</s>": 2}
    prompt = "In: What action should the robot take to push cube goal lift peg ? Out:"
    for word in prompt.split():
        words[word] = len(words)
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Prismatic(read_folder(folder).architecture)
        for name, parameter in network.named_parameters():
            if parameter.ndim >= 2 and "lm_head" in name:
                torch.nn.init.normal_(parameter, std=0.1)  # else all tokens are equally likely
        write_tensors(network.state_dict(), folder / "model.safetensors")
    return folder
