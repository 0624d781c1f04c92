"""Folders of GR00T-N1.5 with random weights: to try, test and time what needs a download."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from rlinf.config.base import Precision
from rlinf.models import random_weights
from rlinf.models.files import write_tensors
from rlinf.models.gr00t.config import Gr00tConfig
from rlinf.models.gr00t.policy import Gr00tPolicy

_IMAGE = "<IMG_CONTEXT>"
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", _IMAGE, "<img>", "</img>"]
_LETTERS = 256  # tokens of the byte-level alphabet
_SLOTS, _POSITIONS = 32, 1024


@dataclass(frozen=True, slots=True)
class Gr00tSizes:
    """Sizes in the words of the folder's two `config.json`; heads x their size are widths."""

    vocabulary: int
    text: tuple[int, int, int, int, int, int]  # hidden, ff, layers, heads, key heads, head size
    kept_layers: int
    vision: tuple[int, int, int, int, int]  # hidden, ff, layers, heads, side of a picture
    dit: tuple[int, int, int]  # heads, head size, layers
    looking: tuple[int, int, int]  # heads, head size, layers
    hidden: int  # of encoders and decoder
    state: int
    action: int
    horizon: int
    future: int


SIZES = {
    "tiny": Gr00tSizes(
        vocabulary=_LETTERS + len(_SPECIAL),
        text=(16, 24, 2, 2, 1, 8),
        kept_layers=1,
        vision=(16, 24, 1, 2, 28),
        dit=(2, 8, 2),
        looking=(2, 8, 1),
        hidden=12,
        state=10,
        action=8,
        horizon=8,
        future=3,
    ),
    "mid": Gr00tSizes(
        vocabulary=9480,
        text=(512, 1536, 7, 4, 2, 128),
        kept_layers=3,
        vision=(288, 1076, 7, 4, 224),
        dit=(8, 48, 4),
        looking=(8, 64, 1),
        hidden=256,
        state=64,
        action=32,
        horizon=16,
        future=32,
    ),
    "3b": Gr00tSizes(
        vocabulary=151_680,
        text=(2048, 6144, 28, 16, 8, 128),
        kept_layers=12,
        vision=(1152, 4304, 27, 16, 224),
        dit=(32, 48, 16),
        looking=(32, 64, 4),
        hidden=1024,
        state=64,
        action=32,
        horizon=16,
        future=32,
    ),
}
"""`3b` is the published one; `mid` has a quarter of its widths and layers, and a sixteenth of its
vocabulary, so that the parts cost about the same shares."""


def _settings(size: Gr00tSizes) -> dict[str, Any]:
    """config.json of the model."""
    heads, width, _ = size.dit
    looking = dict(zip(_ATTENTION, size.looking, strict=True))
    head = {
        "action_dim": size.action,
        "action_horizon": size.horizon,
        "add_pos_embed": True,
        "backbone_embedding_dim": size.text[0],
        "diffusion_model_cfg": {
            **dict(zip(_ATTENTION, size.dit, strict=True)),
            "norm_type": "ada_norm",
            "interleave_self_attention": True,
        },
        "vl_self_attention_cfg": looking,
        "hidden_size": size.hidden,
        "input_embedding_dim": heads * width,
        "max_state_dim": size.state,
        "noise_beta_alpha": 1.5,
        "noise_beta_beta": 1.0,
        "noise_s": 0.999,
        "num_inference_timesteps": 4,
        "num_timestep_buckets": 1000,
        "num_target_vision_tokens": size.future,
        "use_vlln": True,
    }
    backbone = {"select_layer": size.kept_layers, "project_to_dim": None}
    return {"model_type": "gr00t_n1_5", "action_head_cfg": head, "backbone_cfg": backbone}


_ATTENTION = ("num_attention_heads", "attention_head_dim", "num_layers")


def _backbone(size: Gr00tSizes) -> dict[str, Any]:
    """config.json of the processor."""
    hidden, ff, layers, heads, key_heads, head = size.text
    text = {
        "vocab_size": size.vocabulary,
        "hidden_size": hidden,
        "intermediate_size": ff,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "head_dim": head,
        "max_position_embeddings": 2048,
    }
    hidden, ff, layers, heads, side = size.vision
    vision = {
        "hidden_size": hidden,
        "intermediate_size": ff,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": side,
        "patch_size": 14,
    }
    image = _LETTERS + _SPECIAL.index(_IMAGE)
    return {"text_config": text, "vision_config": vision, "image_token_index": image}


def _tokenizer(folder: Path) -> None:
    alphabet = {letter: index for index, letter in enumerate(sorted(_alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(_SPECIAL)
    tokenizer.save(str(folder / "tokenizer.json"))


def _alphabet() -> list[str]:
    return pre_tokenizers.ByteLevel.alphabet()


def statistics(sizes: dict[str, int]) -> dict[str, Any]:
    """Numbers of each key from -1 to 2."""
    rows = {"min": -1.0, "max": 2.0, "mean": 0.5, "std": 0.6, "q01": -0.9, "q99": 1.9}
    return {key: {row: [v] * size for row, v in rows.items()} for key, size in sizes.items()}


def metadata(state: dict[str, int], action: dict[str, int]) -> dict[str, Any]:
    """Of one tag."""
    video: dict[str, Any] = {"image": {}, "wrist_image": {}}
    return {
        "statistics": {"state": statistics(state), "action": statistics(action)},
        "modalities": {"video": video},
    }


_ARM = ("x", "y", "z", "roll", "pitch", "yaw")
TAGS = {
    "libero_franka": metadata(
        {**dict.fromkeys(_ARM, 1), "gripper": 2}, dict.fromkeys((*_ARM, "gripper"), 1)
    ),
    "maniskill_widowx": metadata({"left_arm": 7}, {"left_arm": 7}),
}


def write_folder(folder: Path, size: str = "tiny", tags: dict[str, Any] = TAGS) -> Path:
    """A model folder and its processor in a sub-folder, with the weights that tell sizes alone.

    Args:
        size: one of `SIZES`.
        tags: what metadata.json holds.
    """
    chosen = SIZES[size]
    (folder / "experiment_cfg").mkdir(parents=True)
    (folder / "processor").mkdir()
    (folder / "config.json").write_text(json.dumps(_settings(chosen)))
    (folder / "experiment_cfg" / "metadata.json").write_text(json.dumps(tags))
    (folder / "processor" / "config.json").write_text(json.dumps(_backbone(chosen)))
    _tokenizer(folder / "processor")
    told = {
        "state_encoder.layer1.W": (_SLOTS, chosen.state, chosen.hidden),
        "position_embedding.weight": (_POSITIONS, chosen.dit[0] * chosen.dit[1]),
    }
    weights = {f"action_head.{name}": torch.zeros(shape) for name, shape in told.items()}
    write_tensors(weights, folder / "model.safetensors")
    return folder


@torch.no_grad()
def build(
    folder: Path, size: str, precision: Precision, device: str, **settings: Any
) -> Gr00tPolicy:
    """A policy with random weights on a device.

    Args:
        folder: for its files; made here.
        size: one of `SIZES`.
        settings: of its configuration.
    """
    given = {"model_path": str(write_folder(folder, size)), "precision": precision, **settings}
    policy = Gr00tPolicy(Gr00tConfig(model_type="gr00t", **given))
    policy.network.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(3)
    random_weights.fill(policy.network, generator)
    policy.network.backbone.restore_buffers()
    policy.begin_training_form()
    return policy.to(device)
