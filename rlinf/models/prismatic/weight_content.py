"""What weights in files hold: read a tensor at a time, hashed, and compared with an adapter.

Two folders hold the same model if their tensors are the same, however these are split into files.
A hash rounds to bf16 first, so that a copy in bf16 counts as the fp32 model that it was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rlinf.models.weight_files import read_header, weight_files

_SAMPLED = 256  # values of each tensor of a model: those of another one differ in all of them
_FORMATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_VALUE_HEAD = "value_head."
_COMPARED = 32  # adapted modules, spread over the model: with 7B some 500 million weights
_MOST_NOISE = 0.1


class StoredWeights:
    """The tensors of weight files by name: safetensors, or .bin files as PyTorch writes them."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Reads the headers alone.

        Raises:
            UserError: if a safetensors file is truncated.
        """
        self._places: dict[str, tuple[Path, dict[str, Any], int]] = {}
        self._pickled = [file for file in files if file.suffix != ".safetensors"]
        for file in files:
            if file not in self._pickled:
                header, start = read_header(file)
                self._places |= {name: (file, entry, start) for name, entry in header.items()}

    @cached_property
    def _tensors(self) -> dict[str, Any]:
        """Those of .bin files, mapped into memory."""
        if not self._pickled:
            return {}
        import torch

        read: dict[str, Any] = {}
        for file in self._pickled:
            read |= torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        return read

    def names(self) -> list[str]:
        """Names of all tensors of numbers, sorted."""
        stored = [n for n, (_, entry, _) in self._places.items() if entry["dtype"] in _FORMATS]
        return sorted([*stored, *(n for n, t in self._tensors.items() if t.is_floating_point())])

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        if name in self._places:
            return tuple(self._places[name][1]["shape"])
        return tuple(self._tensors[name].shape)

    def read(self, name: str, count: int = -1) -> np.ndarray:
        """Float32 of a tensor's shape; or its first `count` values, in one row."""
        if name not in self._places:
            tensor = self._tensors[name]
            tensor = tensor if count < 0 else tensor.flatten()[:count]
            return tensor.float().numpy()
        file, entry, start = self._places[name]
        kind = np.dtype(_FORMATS[entry["dtype"]])
        first, end = entry["data_offsets"]
        size = (end - first) // kind.itemsize
        values = np.fromfile(
            file, kind, size if count < 0 else min(count, size), offset=start + first
        )
        if entry["dtype"] == "BF16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        values = values.astype(np.float32, copy=False)
        return values.reshape(entry["shape"]) if count < 0 else values


def fingerprint(tensors: Iterable[tuple[str, tuple[int, ...], np.ndarray]]) -> str:
    """Hash of names, shapes and values; these are float32 and count as rounded to bf16.

    The order of the tensors counts: sort them by name.
    """
    digest = sha256()
    for name, shape, values in tensors:
        digest.update(f"{name} {list(shape)}\n".encode())
        digest.update(_as_bf16(values).tobytes())
    return f"sha256:{digest.hexdigest()}"


def model_fingerprint(folder: Path) -> str:
    """Of a model folder, whose critic does not count; a sample of each tensor is read.

    Raises:
        UserError: if weight files are missing or truncated.
    """
    stored = StoredWeights(weight_files(folder))
    names = [name for name in stored.names() if not name.startswith(_VALUE_HEAD)]
    return fingerprint((n, stored.shape(n), stored.read(n, _SAMPLED)) for n in names)


class LowRank(NamedTuple):
    """What an adapter adds to a weight: scale * up @ down."""

    scale: float
    down: np.ndarray  # [r, in] float32
    up: np.ndarray  # [out, r] float32


def folded_share(changes: dict[str, LowRank], model: StoredWeights) -> float | None:
    """How often an adapter is part of a model's weights: about 0 before it is folded in, 1 after.

    The least-squares coefficient of its changes D in the weights W: the sum of <W, D> / s^2 over
    that of <D, D> / s^2, with s^2 the mean square of W. A base that knows nothing of the adapter
    adds noise of 1 / sqrt(sum of <D, D> / s^2).

    Args:
        changes: name of a weight -> what the adapter adds to it.
        model: whose weights they are; those it lacks are left out.

    Returns:
        None where the adapter is too small to tell.
    """
    known = sorted(changes.keys() & set(model.names()))
    found = expected = 0.0
    for name in known[:: -(-len(known) // _COMPARED)] if known else ():
        scale, down, up = changes[name]
        weight = model.read(name)
        if weight.size != len(up) * down.shape[1]:
            continue  # of another model; refused where the adapter is loaded
        weight = weight.reshape(len(up), -1)
        spread = float(np.mean(weight * weight)) or 1.0
        found += scale * float(np.sum((up.T @ weight) * down)) / spread
        expected += scale**2 * float(np.sum((up.T @ up) * (down @ down.T))) / spread
    if expected * _MOST_NOISE**2 < 1:
        return None
    return found / expected


def _as_bf16(values: np.ndarray) -> np.ndarray:
    """Upper halves of float32, rounded to the nearest, ties to even: [...] uint16."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
