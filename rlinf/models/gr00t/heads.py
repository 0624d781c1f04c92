"""What reinforcement learning adds to the model: a critic and the size of learned noise.

They lie in a file of their own beside the weights, under the names that RLinf's releases have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from rlinf.errors import UserError
from rlinf.models.files import read_tensors, write_tensors
from rlinf.models.flow.policy import LearnedNoise

FILE = "rl_heads.safetensors"
_VALUE = "action_head.value_head."
_NOISE = "action_head.reinflow_explore_noise_net.mlp_logvar.moduleList."
PREFIXES = (_VALUE, "action_head.reinflow_explore_noise_net.")
_WIDTHS = {"state": (1024, 512, 256), "chain": (512, 256, 128)}


class Gr00tValueHead(nn.Module):
    """Linear layers with ReLU in between. It reads the model and does not shape it."""

    def __init__(self, kind: Literal["state", "chain"], inputs: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in _WIDTHS[kind]:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.mlp = nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs] float32 to [B, outputs]."""
        return self.mlp(features.detach())


def read_heads(
    value: Gr00tValueHead | None,
    noise: LearnedNoise | None,
    found: Mapping[str, Tensor],
    folder: Path,
) -> None:
    """Takes critic and noise of a folder, where it has them; else they stay as they are.

    Args:
        found: those that lie among the model's weights.

    Raises:
        UserError: they are of other sizes.
    """
    path = folder / FILE
    state = {**found, **(read_tensors(path) if path.is_file() else {})}
    values = {n.removeprefix(_VALUE): t for n, t in state.items() if n.startswith(_VALUE)}
    noises = {_ours(n): t for n, t in state.items() if n.startswith(_NOISE)}
    try:
        if value is not None and values:
            value.load_state_dict(values)
        if noise is not None and noises:
            noise.load_state_dict(noises)
    except RuntimeError as error:
        raise UserError(
            f"the critic or the noise in {folder} does not fit actor.model: {error}",
            "set actor.model.critic and value_type to those of its training, or remove "
            f"{FILE}; RLinf's first release has critic=chain and value_type=chunk",
        ) from error


def write_heads(state: Mapping[str, Tensor], folder: Path) -> None:
    """Writes critic and noise, if there are any; names begin with `value_head.`, `noise_head.`."""
    named = {published_name(name): tensor for name, tensor in state.items()}
    if named:
        write_tensors(named, folder / FILE)


def _ours(name: str) -> str:
    """`0.linear_1.weight` below the prefix to `mlp.0.weight`: the activations count here."""
    layer, _, part = name.removeprefix(_NOISE).partition(".linear_1.")
    return f"mlp.{2 * int(layer)}.{part}"


def published_name(name: str) -> str:
    """Of a parameter of critic or noise, in the file."""
    if name.startswith("value_head."):
        return _VALUE + name.removeprefix("value_head.")
    match = re.fullmatch(r"noise_head\.mlp\.(\d+)\.(\w+)", name)
    assert match is not None, name
    return f"{_NOISE}{int(match[1]) // 2}.linear_1.{match[2]}"
