"""The action head of GR00T-N1.5: from backbone features and a noisy chunk to its velocity.

Letters: B rows, L backbone tokens, D their width, H actions of the horizon, W numbers of an action
with padding, E width of the head's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlinf.models.flow.dit import Dit, KvCache, SelfAttentionBlock, sine_code
from rlinf.models.gr00t.folder import HeadSizes

Slots = int | Tensor
"""Which embodiment's weights: one number for all rows, or [B] int64."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the head looks at, computed once for all steps of a chain."""

    features: Tensor  # [B, L, D] after the head's self-attention
    memories: list[KvCache | None]  # of the DiT's blocks
    mask: Tensor | None  # [B, 1, 1, L] bool, tokens that may be looked at; None: all
    state: Tensor  # [B, 1, E]
    slots: Slots


class SlotLinear(nn.Module):
    """A linear layer with weights of its own for each embodiment: x W + b."""

    def __init__(self, slots: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.W = nn.Parameter(torch.randn(slots, inputs, outputs) / inputs**0.5)
        self.b = nn.Parameter(torch.zeros(slots, outputs))

    def forward(self, x: Tensor, slots: Slots) -> Tensor:
        """[B, S, inputs] to [B, S, outputs]."""
        if isinstance(slots, int):
            return x @ self.W[slots] + self.b[slots]
        return torch.baddbmm(self.b[slots][:, None], x, self.W[slots])


class SlotMlp(nn.Module):
    """Linear, ReLU, linear, with weights of its own for each embodiment."""

    def __init__(self, slots: int, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layer1 = SlotLinear(slots, inputs, hidden)
        self.layer2 = SlotLinear(slots, hidden, outputs)

    def forward(self, x: Tensor, slots: Slots) -> Tensor:
        """[B, S, inputs] to [B, S, outputs]."""
        return self.layer2(functional.relu(self.layer1(x, slots)), slots)


class ActionEncoder(nn.Module):
    """Noisy actions and their time as tokens."""

    def __init__(self, slots: int, action_dim: int, width: int) -> None:
        super().__init__()
        self.W1 = SlotLinear(slots, action_dim, width)
        self.W2 = SlotLinear(slots, 2 * width, width)
        self.W3 = SlotLinear(slots, width, width)

    def forward(self, actions: Tensor, steps: Tensor, slots: Slots) -> Tensor:
        """[B, H, W] at times [B] int64 of 1000 to [B, H, E]."""
        encoded = self.W1(actions, slots)
        code = sine_code(steps, encoded.shape[-1]).to(encoded.dtype)
        joined = torch.cat((encoded, code[:, None].expand_as(encoded)), dim=-1)
        return self.W3(functional.silu(self.W2(joined, slots)), slots)


class ActionHead(nn.Module):
    """Names of parameters are those of the published weights."""

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__()
        self.sizes = sizes
        width, slots = sizes.width, sizes.slots
        self.state_encoder = SlotMlp(slots, sizes.state_dim, sizes.hidden, width)
        self.action_encoder = ActionEncoder(slots, sizes.action_dim, width)
        self.action_decoder = SlotMlp(slots, sizes.hidden, sizes.hidden, sizes.action_dim)
        self.future_tokens = nn.Embedding(sizes.future_tokens, width)
        if sizes.positions:
            self.position_embedding = nn.Embedding(sizes.positions, width)
        self.vlln = nn.LayerNorm(sizes.features) if sizes.norm else nn.Identity()
        blocks = [
            SelfAttentionBlock(sizes.features, sizes.looking_heads)
            for _ in range(sizes.looking_layers)
        ]
        self.vl_self_attention = nn.ModuleDict({"transformer_blocks": nn.ModuleList(blocks)})
        self.model = Dit(width, sizes.heads, sizes.layers, sizes.features, sizes.hidden)

    def look(self, features: Tensor, mask: Tensor | None, state: Tensor, slots: Slots) -> Looked:
        """Prepares the chain of B rows.

        Args:
            features: [B, L, D] of the backbone.
            mask: [B, L] bool, tokens that may be looked at; None: all.
            state: [B, 1, state_dim] normalised and padded.
        """
        seen = self.vlln(features)
        allowed = None if mask is None else mask[:, None, None]
        for block in self.looking_blocks():
            seen = block(seen, allowed)
        encoded = self.state_encoder(state, slots)
        return Looked(seen, self.model.memories(seen), allowed, encoded, slots)

    def forward(self, looked: Looked, x: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity of the states x [B, H, W] at times [B] int64 of 1000.

        Returns:
            velocity [B, H, W], and the DiT's output for the actions [B, H, hidden].
        """
        actions = self.action_encoder(x, steps, looked.slots)
        horizon = actions.shape[1]
        if self.sizes.positions:
            actions = actions + self.position_embedding.weight[:horizon]
        future = self.future_tokens.weight.expand(len(x), -1, -1)
        tokens = torch.cat((looked.state, future, actions), dim=1)
        hidden = self.model(tokens, steps, looked.memories, looked.mask)[:, -horizon:]
        return self.action_decoder(hidden, looked.slots), hidden

    def looking_blocks(self) -> Sequence[nn.Module]:
        """The self-attention blocks over the features."""
        blocks = self.vl_self_attention["transformer_blocks"]
        assert isinstance(blocks, nn.ModuleList)
        return list(blocks)

    def layers(self) -> list[nn.Module]:
        """The repeated layers, in order of use."""
        return [*self.looking_blocks(), *self.model.transformer_blocks]
