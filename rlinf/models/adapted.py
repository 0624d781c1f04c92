"""A linear layer with a low-rank adapter, which adds the adapter's part inside its last product."""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor
from torch.nn.functional import linear


class AdaptedLinear(Linear):
    """peft's layer: the same weights and names, the same numbers up to rounding.

    peft's own `forward` scales the adapter's part and adds it to the base's: two more passes over
    memory of the size of the layer's output, and one over that of its gradient.
    """

    def forward(self, x: Tensor, *_: Any, **__: Any) -> Tensor:
        """[..., in] to [..., out]: x W + scale * (x A) B, without dropout."""
        (name,) = self.active_adapters
        down, up = self.lora_A[name].weight, self.lora_B[name].weight
        if self.disable_adapters or self.merged or x.dtype != down.dtype:
            by_peft: Tensor = super().forward(x)
            return by_peft
        base = self.base_layer(x)
        width, rank = up.shape
        rows, inner = base.reshape(-1, width), linear(x, down).reshape(-1, rank)
        return torch.addmm(rows, inner, up.t(), alpha=self.scaling[name]).view(base.shape)
