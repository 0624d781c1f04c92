"""Adapters of OpenVLA and OpenVLA-OFT: which layers have them, and reading and writing them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlinf.config.base import ADAPTER_FILE
from rlinf.errors import UserError
from rlinf.models.adapters import NAME, attached, inject
from rlinf.models.files import read_tensors, write_tensors
from rlinf.models.prismatic.adapter_folder import (
    ADAPTER_WEIGHTS_FILE,
    PREFIX,
    RECORD_FILE,
    plain_name,
    read_adapter,
)
from rlinf.models.prismatic.network import Prismatic
from rlinf.models.prismatic.weight_content import fingerprint

TARGETS = (
    *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"),
    *("qkv", "proj", "q", "kv", "out_proj", "fc1", "fc2", "fc3"),
)
"""Ends of the names of adapted modules: every linear layer and the patch convolutions."""


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter rather than a model."""
    return (folder / ADAPTER_FILE).is_file()


def attach(network: Prismatic, rank: int, folder: Path | None) -> None:
    """Adds adapters that change nothing yet, or those of a PEFT folder, and freezes the rest.

    Raises:
        UserError: if the folder's adapter does not fit.
    """
    given = read_adapter(folder).settings if folder else {}
    rank = given.get("r", rank)
    try:
        inject(
            network,
            given.get("target_modules", list(TARGETS)),
            rank,
            lora_alpha=given.get("lora_alpha", rank),
            rank_pattern=given.get("rank_pattern") or {},
            alpha_pattern=given.get("alpha_pattern") or {},
            use_rslora=given.get("use_rslora", False),
        )
    except ValueError as error:
        raise UserError(
            f"actor.model.lora_path = {folder}: {error}", "name an adapter of this model"
        ) from error
    for module in network.unused():
        module.requires_grad_(False)
    if folder:
        load(network, folder)


def load(network: Prismatic, folder: Path) -> None:
    """Copies the weights of a PEFT folder into the adapters there are.

    Raises:
        UserError: if there are none, or others.
    """
    if not attached(network):
        raise UserError(
            f"{folder} is a LoRA adapter, and the policy has none",
            "set actor.model.is_lora=true and actor.model.lora_path to the folder",
        )
    state = {_ours(name): t for name, t in read_tensors(folder / ADAPTER_WEIGHTS_FILE).items()}
    state = {name: t for name, t in state.items() if ".lora_" in name}
    mine = {name: p for name, p in network.named_parameters() if ".lora_" in name}
    different = [name for name in mine.keys() | state.keys() if not _fits(name, mine, state)]
    if different:
        raise UserError(
            f"the adapter in {folder} does not fit the model: {len(different)} of {len(mine)} "
            f"weights differ in name or shape, for example {min(different)}",
            "name an adapter of this very model (its base is named in adapter_config.json)",
        )
    with torch.no_grad():
        for name, parameter in mine.items():
            parameter.copy_(state[name])


def fingerprint_of(state: Mapping[str, Tensor]) -> str:
    """Hash of the adapters in `state`, that of the folder which `save` makes of them."""
    adapters = sorted((plain_name(name), t) for name, t in state.items() if ".lora_" in name)
    return fingerprint(
        (name, tuple(t.shape), t.detach().float().cpu().numpy()) for name, t in adapters
    )


def save(
    network: Prismatic,
    state: Mapping[str, Tensor],
    folder: Path,
    base: Path,
    record: Mapping[str, Any],
) -> None:
    """A folder that peft loads: the adapters in `state`, and what they belong to.

    Args:
        record: what PEFT's file has no place for, kept beside it.
    """
    config = _peft_config(network).to_dict()
    config["base_model_name_or_path"] = str(base)
    config["inference_mode"] = True
    config = {key: sorted(v) if isinstance(v, set) else v for key, v in config.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ADAPTER_FILE).write_text(json.dumps(config, indent=2, default=str) + "\n")
    (folder / RECORD_FILE).write_text(json.dumps(dict(record), indent=2) + "\n")
    adapters = {_theirs(name): t for name, t in state.items() if ".lora_" in name}
    write_tensors(adapters, folder / ADAPTER_WEIGHTS_FILE)


def _peft_config(network: Any) -> Any:
    """What `inject_adapter_in_model` left on the network."""
    return network.peft_config[NAME]


def _fits(name: str, mine: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    return name in mine and name in given and mine[name].shape == given[name].shape


def _ours(name: str) -> str:
    return re.sub(r"(\.lora_[AB])\.", rf"\1.{NAME}.", name.removeprefix(PREFIX))


def _theirs(name: str) -> str:
    return PREFIX + name.replace(f".{NAME}.", ".")
