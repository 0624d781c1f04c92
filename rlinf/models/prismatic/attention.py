"""Attention mask and KV cache of a sequence.

Letters: B rows, T positions of a sequence, D size of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class LayerCache(Protocol):
    """Keys and values of one layer."""

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Takes up those of n positions, [B, heads, n, D]; returns what attention reads."""


class GrowingCache:
    """Keys and values of one layer in memory that is allocated once, for T positions."""

    def __init__(self, positions: int, store: tuple[Tensor, Tensor] | None = None) -> None:
        """
        Args:
            positions: T.
            store: [B, heads, T, D] for keys and for values; None allocates them when they come.
        """
        self.positions, self.store = positions, store
        self.filled = 0  # positions written so far

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Appends [B, heads, n, D]; returns all keys and values so far."""
        if self.store is None:
            shape = (*keys.shape[:2], self.positions, keys.shape[3])
            self.store = keys.new_empty(shape), values.new_empty(shape)
        held, end = self.store, self.filled + keys.shape[2]
        held[0][:, :, self.filled : end] = keys
        held[1][:, :, self.filled : end] = values
        self.filled = end
        return held[0][:, :, :end], held[1][:, :, :end]


@dataclass(frozen=True, slots=True)
class StepCache:
    """Keys and values of one layer where one position is written and all T are read.

    Shapes do not depend on the position, so that one compiled step serves all of them; the mask
    hides positions that are not written yet.
    """

    keys: Tensor  # [B, heads, T, D]
    values: Tensor  # [B, heads, T, D]
    position: Tensor  # [1] int64

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes [B, heads, 1, D]; returns all T."""
        self.keys.index_copy_(2, self.position, keys)
        self.values.index_copy_(2, self.position, values)
        return self.keys, self.values


@dataclass(frozen=True, slots=True)
class Attending:
    """The attention mask among the T positions of B rows.

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
