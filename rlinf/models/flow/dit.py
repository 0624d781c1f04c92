"""A diffusion transformer as GR00T-N1.5 has it, and the blocks that prepare what it looks at.

Names of parameters are those of the published weights. Letters: B rows, L tokens looked at,
S tokens of the sequence, D width. Dropout, which the original trains with, is left out: with it the
log-probs of rollout and update would be of two different policies.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

KvCache = tuple[Tensor, Tensor]
"""Keys and values [B, heads, L, D / heads] of the tokens looked at."""


def cosine_code(steps: Tensor, width: int) -> Tensor:
    """A code of whole numbers [B], cosine half first: [B, width] float32."""
    half = width // 2
    count = torch.arange(half, device=steps.device, dtype=torch.float32)
    angle = steps.float()[:, None] * (-math.log(10_000) * count / (half - 1)).exp()
    return torch.cat((angle.cos(), angle.sin()), dim=-1)


def sine_code(steps: Tensor, width: int) -> Tensor:
    """A code of whole numbers [B], sine half first and other frequencies: [B, width] float32."""
    half = width // 2
    count = torch.arange(half, device=steps.device, dtype=torch.float32)
    angle = steps.float()[:, None] * (-count * (math.log(10_000) / half)).exp()
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


class CachedAttention(nn.Module):
    """Multi-head attention whose keys and values can be computed once and used again."""

    def __init__(self, width: int, heads: int, memory_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(memory_width, width)
        self.to_v = nn.Linear(memory_width, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def memory(self, tokens: Tensor) -> KvCache:
        """Of tokens [B, L, memory width]."""
        return self._split(self.to_k(tokens)), self._split(self.to_v(tokens))

    def forward(self, tokens: Tensor, memory: KvCache, mask: Tensor | None) -> Tensor:
        """[B, S, D] to [B, S, D]; `mask` ([B, 1, 1, L] bool): what may be looked at."""
        query = self._split(self.to_q(tokens))
        mixed = functional.scaled_dot_product_attention(query, *memory, attn_mask=mask)
        return self.to_out[0](mixed.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        first = nn.ModuleDict({"proj": nn.Linear(width, hidden)})
        self.net = nn.ModuleList([first, nn.Identity(), nn.Linear(hidden, width)])

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        first = self.net[0]
        assert isinstance(first, nn.ModuleDict)
        return self.net[2](functional.gelu(first["proj"](tokens), approximate="tanh"))


class AdaptiveNorm(nn.Module):
    """LayerNorm whose scale and shift come from the code of the time."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)

    def forward(self, tokens: Tensor, code: Tensor) -> Tensor:
        """[B, S, D] with a code [B, D] to [B, S, D]."""
        scale, shift = self.linear(functional.silu(code))[:, None].chunk(2, dim=-1)
        return functional.layer_norm(tokens, tokens.shape[-1:]) * (1 + scale) + shift


class DitBlock(nn.Module):
    """Attention to the memory or to the sequence itself, then a feed-forward layer."""

    def __init__(self, width: int, heads: int, memory_width: int | None) -> None:
        """
        Args:
            memory_width: of the tokens looked at; None for self-attention.
        """
        super().__init__()
        self.crosses = memory_width is not None
        self.norm1 = AdaptiveNorm(width)
        self.attn1 = CachedAttention(width, heads, memory_width or width)
        self.ff = FeedForward(width, 4 * width)

    def forward(
        self,
        tokens: Tensor,
        code: Tensor | None = None,
        memory: KvCache | None = None,
        mask: Tensor | None = None,
    ) -> Tensor | KvCache:
        """Of the sequence [B, S, D]; without a code, keys and values of tokens looked at.

        Both are this one method, as a sharded block has its weights only inside it.
        """
        if code is None:
            return self.attn1.memory(tokens)
        normed = self.norm1(tokens, code)
        if memory is None:
            memory = self.attn1.memory(normed)
        tokens = tokens + self.attn1(normed, memory, mask)
        return tokens + self.ff(functional.layer_norm(tokens, tokens.shape[-1:]))


class _TimestepEncoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        first = nn.Linear(256, width)
        self.timestep_embedder = nn.ModuleDict(
            {"linear_1": first, "linear_2": nn.Linear(width, width)}
        )

    def forward(self, steps: Tensor) -> Tensor:
        layers = self.timestep_embedder
        code = cosine_code(steps, 256).to(next(layers.parameters()).dtype)
        return layers["linear_2"](functional.silu(layers["linear_1"](code)))


class Dit(nn.Module):
    """Blocks that look in turns at the memory (even ones) and at the sequence (odd ones)."""

    def __init__(
        self, width: int, heads: int, layers: int, memory_width: int, outputs: int
    ) -> None:
        super().__init__()
        self.timestep_encoder = _TimestepEncoder(width)
        self.transformer_blocks = nn.ModuleList(
            DitBlock(width, heads, None if index % 2 else memory_width) for index in range(layers)
        )
        self.proj_out_1 = nn.Linear(width, 2 * width)
        self.proj_out_2 = nn.Linear(width, outputs)

    def memories(self, tokens: Tensor) -> list[KvCache | None]:
        """Keys and values of the tokens looked at [B, L, memory width], of each block.

        They are the same in every step of a chain.
        """
        return [block(tokens) if block.crosses else None for block in self.transformer_blocks]

    def forward(
        self, tokens: Tensor, steps: Tensor, memories: list[KvCache | None], mask: Tensor | None
    ) -> Tensor:
        """[B, S, D] at times [B] int64 of 1000 to [B, S, outputs]."""
        code = self.timestep_encoder(steps)
        for block, memory in zip(self.transformer_blocks, memories, strict=True):
            tokens = block(tokens, code, memory, mask if block.crosses else None)
        shift, scale = self.proj_out_1(functional.silu(code))[:, None].chunk(2, dim=-1)
        normed = functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        return self.proj_out_2(normed * (1 + scale) + shift)


class SelfAttentionBlock(nn.Module):
    """A block over the tokens that will be looked at."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = CachedAttention(width, heads, width)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width, 4 * width)

    def forward(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """[B, L, D] to [B, L, D]."""
        normed = self.norm1(tokens)
        tokens = tokens + self.attn1(normed, self.attn1.memory(normed), mask)
        return tokens + self.ff(self.norm3(tokens))
