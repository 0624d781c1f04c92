"""A tiny model folder in the layout of GR00T-N1.5, with random weights: no recorded set needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from rlinf.models.files import write_tensors
from rlinf.models.gr00t import folder as folders
from rlinf.models.gr00t.network import Gr00t

IMAGE, SIDE, PATCH = "<IMG_CONTEXT>", 28, 14
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", IMAGE, "<img>", "</img>"]


def settings() -> dict[str, Any]:
    """config.json of the model."""
    attention = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 1}
    dit = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_layers": 2,
        "norm_type": "ada_norm",
        "interleave_self_attention": True,
    }
    head = {
        "action_dim": 8,
        "action_horizon": 8,
        "add_pos_embed": True,
        "backbone_embedding_dim": 16,
        "diffusion_model_cfg": dit,
        "vl_self_attention_cfg": attention,
        "hidden_size": 12,
        "input_embedding_dim": 16,
        "max_state_dim": 10,
        "noise_beta_alpha": 1.5,
        "noise_beta_beta": 1.0,
        "noise_s": 0.999,
        "num_inference_timesteps": 4,
        "num_timestep_buckets": 1000,
        "num_target_vision_tokens": 3,
        "use_vlln": True,
    }
    return {
        "model_type": "gr00t_n1_5",
        "action_head_cfg": head,
        "backbone_cfg": {"select_layer": 1, "project_to_dim": None},
    }


def _backbone(vocabulary: int) -> dict[str, Any]:
    """config.json of the processor."""
    text = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 512,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": SIDE,
        "patch_size": PATCH,
    }
    return {"text_config": text, "vision_config": vision, "image_token_index": 256 + 3}


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
    video: dict[str, dict[str, Any]] = {"image": {}, "wrist_image": {}}
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


def write_embodiment(path: Path, state: int) -> Path:
    """A file that describes an embodiment with one view, whose statistics have the tag `mine`."""
    path.write_text(
        f"tag: mine\nslot: 2\nviews: [main]\nreads: {{joints: {state}}}\n"
        "state: {robot: joints}\naction: [arm]\n"
    )
    return path


def write_folder(folder: Path, tags: dict[str, Any] = TAGS) -> Path:
    """A model, and its processor in a sub-folder.

    Args:
        tags: what metadata.json holds.
    """
    (folder / "experiment_cfg").mkdir(parents=True)
    (folder / "processor").mkdir()
    (folder / "config.json").write_text(json.dumps(settings()))
    (folder / "experiment_cfg" / "metadata.json").write_text(json.dumps(tags))
    backbone = _backbone(256 + len(_SPECIAL))
    (folder / "processor" / "config.json").write_text(json.dumps(backbone))
    _tokenizer(folder / "processor")
    write_tensors(
        {"action_head.state_encoder.layer1.W": torch.zeros(32, 10, 12)},
        folder / "model.safetensors",
    )
    torch.manual_seed(3)
    network = Gr00t(folders.read(folder, None))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0.0, 0.2)
    published = {
        name.replace("eagle_model.vision_model.", "eagle_model.vision_model.vision_model."): tensor
        for name, tensor in network.state_dict().items()
    }
    write_tensors(published, folder / "model.safetensors")
    return folder
