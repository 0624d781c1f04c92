"""The trainable weights of a policy as one flat buffer: what travels from actor to rollout."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.models.base import Policy


@dataclass(frozen=True, slots=True)
class Weights:
    """Trainable parameters, one after the other in the order of `named_parameters`."""

    version: int  # updates the actor had made
    layout: str  # digest of names, shapes and dtypes
    data: np.ndarray  # [bytes] uint8


def trainable(policy: nn.Module) -> list[tuple[str, Tensor]]:
    """The parameters that an update can change; frozen ones never travel."""
    return [(name, p) for name, p in policy.named_parameters() if p.requires_grad]


def pack(policy: Policy) -> Weights:
    """Copies the trainable parameters out of a policy, written once."""
    parameters = trainable(policy)
    size = sum(p.numel() * p.element_size() for _, p in parameters)
    data = np.empty(size, np.uint8)
    offset = 0
    for _, parameter in parameters:
        flat = parameter.detach().cpu().contiguous().view(-1).view(torch.uint8)
        data[offset : offset + flat.numel()] = flat.numpy()
        offset += flat.numel()
    return Weights(policy.version, layout(policy), data)


def unpack(weights: Weights, policy: Policy) -> None:
    """Copies the buffer into a policy of the same layout and takes over its version."""
    if weights.layout != layout(policy):
        raise RuntimeError("weights of another architecture arrived: actor and rollout differ")
    data = torch.empty(len(weights.data), dtype=torch.uint8)
    data.numpy()[:] = weights.data  # what arrives is shared memory that nobody may write to
    offset = 0
    with torch.no_grad():
        for _, parameter in trainable(policy):
            size = parameter.numel() * parameter.element_size()
            part = data[offset : offset + size].view(parameter.dtype)
            parameter.copy_(part.view(parameter.shape))
            offset += size
    policy.version = weights.version


def layout(policy: nn.Module) -> str:
    """Digest of the names, shapes and dtypes of the trainable parameters."""
    rows = [f"{name} {tuple(p.shape)} {p.dtype}" for name, p in trainable(policy)]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
