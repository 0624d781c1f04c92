"""Random numbers for the weights of a network, where it would otherwise load them."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def fill(network: nn.Module, generator: torch.Generator) -> None:
    """Small normal numbers for matrices, 1 for factors of norms, 0 for biases."""
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.02, generator=generator)
            else:
                parameter.fill_(0.0 if name == "bias" else 1.0)
