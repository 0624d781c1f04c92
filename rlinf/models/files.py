"""Tensors in files: reading with errors a user can act on, and writing."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlinf.errors import UserError

_WEIGHTS = "model.safetensors"
_SHARD_BYTES = 5_000_000_000


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU, in the file's number format.

    Raises:
        UserError: if the file is missing, truncated or of another kind.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} cannot be read: {error}",
            "The file is missing, truncated or damaged: copy or download it again.",
        ) from error


def read_torch_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of `torch.save` (`.bin`, `.pt`), on the CPU.

    Such a file is a pickle, which could run any code; this reads tensors and refuses the rest.

    Raises:
        UserError: if the file is missing, truncated, or holds more than tensors by name.
    """
    try:
        mapped = is_zipfile(path)  # as torch has written them since 2020
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors, or is damaged: it may run code, so it was not loaded",
            "Save the tensors alone, as safetensors, or take the model from another source.",
        ) from error
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, EOFError) as error:
        raise UserError(
            f"{path} cannot be read: {error}",
            "The file is missing, truncated or damaged: copy or download it again.",
        ) from error
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()
    ):
        raise UserError(
            f"{path} holds no tensors by name", "Take the file of weights that the model needs."
        )
    return found


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes a safetensors file; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    path.unlink(missing_ok=True)
    path.touch()
    mode = path.stat().st_mode  # as the umask says; safetensors leaves files to their owner alone
    try:
        save_file(whole, path, metadata={"format": "pt"})
    except SafetensorError as error:  # it has the number of the system's error in its words alone
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    path.chmod(mode)


def write_shards(state: Mapping[str, Tensor], folder: Path) -> None:
    """Writes model.safetensors; a large state in several files of it, with their index."""
    shards = _shards(state)
    if len(shards) == 1:
        write_tensors(state, folder / _WEIGHTS)
        return
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_tensors({name: state[name] for name in names}, folder / file)
        weight_map |= dict.fromkeys(names, file)
    size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / f"{_WEIGHTS}.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _shards(state: Mapping[str, Tensor]) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    filled = 0
    for name, tensor in state.items():
        size = tensor.numel() * tensor.element_size()
        if filled + size > _SHARD_BYTES and shards[-1]:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards
