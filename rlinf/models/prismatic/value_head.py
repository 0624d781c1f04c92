"""The critic on top of the language model."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PrismaticValueHead(nn.Module):
    """A GELU perceptron on the hidden state that predicts the first action token.

    It computes in float32 whatever the language model does: values have to be finer than bf16.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, 512),
            nn.GELU(),
            nn.Linear(512, 128),
            nn.GELU(),
            nn.Linear(128, outputs, bias=False),
        )
        for layer in (self.mlp[0], self.mlp[2]):
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        assert isinstance(self.mlp[4], nn.Linear)
        nn.init.normal_(self.mlp[4].weight, std=0.02)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, H] to [B, outputs] float32."""
        with torch.autocast(hidden.device.type, enabled=False):
            return self.mlp(hidden.float())
