"""An actor rank's state in host memory that outlives the rank.

The launcher owns the memory. A rank copies policy and optimizer there after each iteration; if it
dies, the rank that replaces it takes them back, and no completed iteration is lost. What the copy
was for is known to the launcher: it counts only if every rank has said that it is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from rlinf.data.shared import Handle, SharedMemory

_ALIGNMENT = 64  # bytes, as in models/weights.py


def size_of(tensors: Sequence[Tensor]) -> int:
    """Bytes of memory that they need."""
    return _offsets(tensors)[-1]


class Kept:
    """Memory for a list of tensors, always of the same shapes and formats."""

    def __init__(self, handle: Handle) -> None:
        self._buffer = torch.from_numpy(SharedMemory.open(handle, writable=True).array)

    @torch.no_grad()
    def write(self, tensors: Sequence[Tensor]) -> None:
        """Copies them into the memory."""
        for place, tensor in zip(self._places(tensors), tensors, strict=True):
            place.copy_(tensor)

    @torch.no_grad()
    def read(self, tensors: Sequence[Tensor]) -> None:
        """Copies what was written into tensors of the same shapes."""
        for place, tensor in zip(self._places(tensors), tensors, strict=True):
            tensor.copy_(place)

    def _places(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        offsets = _offsets(tensors)
        assert offsets[-1] == len(self._buffer), "a rank's state has always the same size"
        return [
            self._buffer[offset : offset + t.nbytes].view(t.dtype).view(t.shape)
            for offset, t in zip(offsets, tensors, strict=False)
        ]


def _offsets(tensors: Sequence[Tensor]) -> list[int]:
    """Where each begins, and behind them the end of all."""
    return [0, *accumulate(-(-t.nbytes // _ALIGNMENT) * _ALIGNMENT for t in tensors)]
