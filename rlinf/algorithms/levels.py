"""One number per token, per action or per chunk (torch).

Whatever the level, results keep three axes so that levels broadcast against each other:
token [N, C, A], action [N, C, 1], chunk [N, 1, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlinf.data.types import Level


def aggregate(tokens: Tensor, mask: Tensor, live: Tensor, level: Level) -> Tensor:
    """Sums log-probs or entropies of tokens over what the level joins.

    Only tokens that reached the simulator count: those of live dimensions of executed actions. The
    others had no effect on the outcome, and leaving them out of a chunk's probability gives the
    probability of what was executed.

    Args:
        tokens: [N, C, A].
        mask: [N, C] bool, actions that count.
        live: [A] bool, dimensions that reach the simulator.
    """
    counted = torch.where(mask[..., None] & live, tokens, tokens.new_zeros(()))
    if level == "token":
        return counted
    return counted.sum(dim=-1 if level == "action" else (1, 2), keepdim=True)


def entries(mask: Tensor, live: Tensor, level: Level) -> Tensor:
    """Which entries of a level count: bool, shaped as `aggregate`'s result."""
    if level == "token":
        return mask[..., None] & live
    if level == "action":
        return mask[..., None]
    return mask.any(dim=1)[:, None, None]


def entry_weights(weights: Tensor, mask: Tensor, live: Tensor, level: Level) -> Tensor:
    """The weight of each entry of a level, 0 for those that do not count.

    Args:
        weights: [N, C] of actions, whose tokens have the same; [N, 1] of chunks at their level.
    """
    return weights[..., None] * entries(mask, live, level)
