"""Model folders with random weights: to try, test and time what needs a 7B download."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn

from rlinf.models.prismatic.model_folder import SETTINGS_FILE
from rlinf.models.prismatic.policy import PrismaticPolicy

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
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.02, generator=generator)
            else:  # a bias, or the factor of a norm
                parameter.fill_(0.0 if name == "bias" else 1.0)
    head = network.language_model.lm_head
    assert isinstance(head, nn.Linear)
    head.weight.normal_(0.0, 0.1, generator=generator)  # else all tokens are equally likely
    network.restore_buffers()
    policy.to(device)
    policy.begin_training_form()
