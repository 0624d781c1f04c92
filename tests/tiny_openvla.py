"""A tiny model folder with random weights in the published layout of OpenVLA."""

from __future__ import annotations

from pathlib import Path

import torch

from rlinf.models.files import write_tensors
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla.policy import OpenVlaPolicy
from rlinf.models.prismatic import random_weights

UNNORM_KEY = "tiny_data"
SETTINGS = random_weights.SIZES["tiny"]


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
