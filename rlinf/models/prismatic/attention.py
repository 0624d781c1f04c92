"""Who sees whom in a sequence, and what was computed of it already.

Letters: B rows, T positions of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


class KeyValueCache:
    """Keys and values of all layers in memory that is allocated once, for T positions.

    It has the one method that transformers' attention calls.
    """

    def __init__(self, layers: int, positions: int) -> None:
        self.positions = positions
        self.filled = 0  # positions written so far
        self._store: list[tuple[Tensor, Tensor] | None] = [None] * layers

    def update(
        self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object
    ) -> tuple[Tensor, Tensor]:
        """Appends [B, heads, n, D] to a layer; returns all keys and values so far."""
        held = self._store[layer]
        if held is None:
            shape = (*keys.shape[:2], self.positions, keys.shape[3])
            held = keys.new_empty(shape), values.new_empty(shape)
            self._store[layer] = held
        end = self.filled + keys.shape[2]
        held[0][:, :, self.filled : end] = keys
        held[1][:, :, self.filled : end] = values
        return held[0][:, :, :end], held[1][:, :, :end]


@dataclass(frozen=True, slots=True)
class Attending:
    """Who sees whom among the T positions of B rows.

    Padding is hidden from everybody; rotary positions count what is not padding.
    """

    real: Tensor  # [B, T] bool, False for padding
    padded: bool  # whether any row has padding
    causal: bool  # a position sees itself and what is before it; else all of the row

    @property
    def positions(self) -> Tensor:
        """[B, T] int64 rotary positions."""
        return (self.real.cumsum(1) - 1).clamp(min=0)

    def until(self, end: int) -> Attending:
        """The same for the first `end` positions."""
        return Attending(self.real[:, :end], self.padded, self.causal)

    def mask(
        self, implementation: str, dtype: torch.dtype, first: int = 0, stop: int | None = None
    ) -> Tensor | None:
        """What the attention of the positions `first` to `stop` adds: [B, 1, stop - first or 1, T].

        None where attention needs no mask, which leaves the faster kernels possible. These take
        causal queries for the last of the row.
        """
        length = self.real.shape[1]
        stop = length if stop is None else stop
        if implementation == "flash_attention_2":
            assert stop == length or not self.causal
            return self.real if self.padded else None
        all_or_last = stop == length and first in (0, length - 1)
        if not self.padded and implementation == "sdpa" and all_or_last:
            return None
        if not self.padded and not self.causal:
            return None
        visible = self.real[:, None, None, :]
        if self.causal and first + 1 < length:
            square = self.real.new_ones(length, length).tril()[first:stop]
            visible = visible & square
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(dtype).min)
