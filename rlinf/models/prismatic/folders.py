"""Model folders in the published layout: reading weights from them, and writing new ones.

The names of parameters are those of the files; nothing but tensors and JSON is read, no code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlinf.errors import UserError
from rlinf.models.files import read_tensors, read_torch_tensors, write_shards, write_tensors
from rlinf.models.prismatic.adapter_folder import FOLDED
from rlinf.models.prismatic.model_folder import SETTINGS_FILE, STATISTICS_FILE, ModelFolder
from rlinf.models.prismatic.network import Prismatic
from rlinf.models.prismatic.recipes import NOTED, Recipe
from rlinf.models.weight_files import weight_files

VALUE_HEAD_FILE = "value_head.safetensors"
_VALUE_HEAD = "value_head."
_AGAIN = "copy or download the model folder again"


def read(folder: Path, network: Prismatic, dtype: torch.dtype) -> dict[str, Tensor]:
    """The state dict of the network from safetensors or .bin files, whole or in shards.

    Raises:
        UserError: if files are missing, truncated, or hold another model.
    """
    expected = network.state_dict()
    state: dict[str, Tensor] = {}
    for path in weight_files(folder):
        for name, tensor in _read_file(path).items():
            if not name.startswith(_VALUE_HEAD):  # its own file, or left for read_value_head
                state[name] = tensor.to(dtype)
    _compare(state, expected, folder)
    return state


def assign(network: Prismatic, state: Mapping[str, Tensor]) -> None:
    """Makes the tensors the network's parameters, or copies them where it has parameters."""
    first = next(network.parameters())
    trainable = {name: p.requires_grad for name, p in network.named_parameters()}
    if first.is_meta:
        network.load_state_dict(state, assign=True)
        network.restore_buffers()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(trainable[name])
        return
    network.load_state_dict(state)


def write(
    state: Mapping[str, Tensor],
    folder: Path,
    source: ModelFolder,
    recipe: Recipe,
    folded: Sequence[str] = (),
) -> None:
    """A folder in the layout of the one the model came from, whose other files are copied.

    Args:
        folded: fingerprints of the adapters that have become part of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.path.iterdir()):
        copied = path.suffix in (".json", ".model", ".py", ".txt") and ".index." not in path.name
        if copied and path.is_file() and path.resolve() != (folder / path.name).resolve():
            shutil.copy(path, folder / path.name)
    before = (source.settings.get(NOTED) or {}).get(FOLDED, [])
    settings = {
        **source.settings,
        "norm_stats": dict(source.statistics),
        NOTED: {**recipe.noted(), FOLDED: list(dict.fromkeys([*before, *folded]))},
    }
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")
    write_statistics(source.statistics, folder)
    write_shards(state, folder)


def write_statistics(statistics: Mapping[str, Any], folder: Path) -> None:
    """Writes what the actions of each data set are scaled with."""
    (folder / STATISTICS_FILE).write_text(json.dumps(dict(statistics)) + "\n")


def read_value_head(head: nn.Module, folder: Path) -> None:
    """Takes the critic of a folder, if it has one; a folder without one leaves it as it is."""
    path = folder / VALUE_HEAD_FILE
    if not path.is_file():
        return
    state = {name.removeprefix(_VALUE_HEAD): t for name, t in read_tensors(path).items()}
    try:
        head.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"{path} does not fit actor.model: {error}",
            "set actor.model.value_type to that of its training, or remove the file",
        ) from error


def write_value_head(state: Mapping[str, Tensor], folder: Path) -> None:
    """Writes the critic, if there is one."""
    if state:
        write_tensors(state, folder / VALUE_HEAD_FILE)


def _read_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_tensors(path)
    return read_torch_tensors(path)


def _compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], folder: Path) -> None:
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    if missing or unknown:
        what = f"lack {_some(missing)}" if missing else f"have {_some(unknown)} in excess"
        raise UserError(
            f"{folder}: its weights are not those of its config.json: they {what}", _AGAIN
        )
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise UserError(
                f"{folder}: {name} has shape {list(state[name].shape)}, by config.json it is "
                f"{list(tensor.shape)}",
                "take config.json and weights from the same model; vocab_size and hidden_size "
                "stand in text_config",
            )


def _some(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest
