r"""A VLA small enough for a CPU: the parts of OpenVLA-OFT, each shrunk to a few layers.

Letters: N samples, V views, H image height, W image width, L text tokens, C actions per chunk,
A action dimensions, D width, G tokens per side of a tower's grid, S = V*G*G + L + C*A (+1) tokens.

    images [N,V,H,W,3] -> fine tower \
                       -> coarse tower -> concatenate -> project [N,V*G*G,D] \
    text [N,L]         -> embedding [N,L,D]                                   -> trunk -> logits
    C*A action slots [C*A,D] + summary of the image tokens [N,1,D]           /

Attention is bidirectional, so all C*A tokens of a chunk are decoded in one pass. Weights start at
random: the policy is meant to be warmed up by imitation before it meets reinforcement learning.
The summary is for that warm-up: attention alone is slow to learn where things are in a picture.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

TEXT_LENGTH = 8
TEXT_BUCKETS = 512
PADDING = 0


@dataclass(frozen=True, slots=True)
class TinyVlaSizes:
    """Sizes of the network. The defaults have about 1 M parameters."""

    image_size: int = 64  # H = W, pixels; a multiple of 16
    views: int = 1  # V, camera pictures per observation
    chunk: int = 4  # C
    action_dim: int = 7  # A
    bins: int = 256  # action tokens per dimension
    width: int = 96  # D
    layers: int = 1
    heads: int = 4
    values: int = 1  # values per observation: 1, C, or 0 for no critic
    recompute: bool = False  # compute the trunk again in the backward pass: less memory


class TinyVla(nn.Module):
    """Pictures and an instruction in, 256 logits for each of the C*A action tokens out."""

    def __init__(self, config: TinyVlaSizes) -> None:
        super().__init__()
        self.config = config
        width, slots = config.width, config.chunk * config.action_dim
        self.vision = FusedVision(config)
        self.view_embedding = nn.Parameter(0.02 * torch.randn(config.views, 1, width))
        self.text_embedding = nn.Embedding(TEXT_BUCKETS, width, padding_idx=PADDING)
        self.text_position = nn.Parameter(0.02 * torch.randn(TEXT_LENGTH, width))
        self.action_slots = nn.Parameter(0.02 * torch.randn(slots, width))
        seen = config.views * (config.image_size // 16) ** 2 * width
        self.summary = nn.Sequential(nn.Linear(seen, 256), nn.GELU(), nn.Linear(256, width))
        self.blocks = nn.ModuleList(TinyBlock(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.action_head = nn.Linear(width, config.bins)
        self.value_head = TinyValueHead(seen + width, config.values) if config.values else None

    def forward(self, images: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and values of N observations.

        Args:
            images: [N, V, H, W, 3] uint8, RGB.
            text: [N, L] int64, from `tokenize`.

        Returns:
            logits [N, C, A, bins] and values [N, values], float32. The value of action i is an
            estimate of the return from before that action on.
        """
        config = self.config
        samples, slots = len(images), config.chunk * config.action_dim
        seen = self.see(images)
        read = self.text_embedding(text) + self.text_position
        asked = self.action_slots + self.summary(seen.flatten(1)).unsqueeze(1)
        tokens = torch.cat((seen, read, asked), dim=1)
        for block in self.blocks:
            if config.recompute and torch.is_grad_enabled():
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        hidden = self.norm(tokens[:, -slots:])
        logits = self.action_head(hidden)
        logits = logits.view(samples, config.chunk, config.action_dim, config.bins)
        if self.value_head is None:
            return logits, logits.new_zeros(samples, 0)
        return logits, self.value_head(torch.cat((seen.flatten(1), hidden.mean(dim=1)), dim=1))

    def see(self, images: Tensor) -> Tensor:
        """[N, V, H, W, 3] uint8 to [N, V*G*G, D], views one after the other."""
        samples, views = images.shape[:2]
        pixels = images.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        tokens = self.vision(pixels).view(samples, views, -1, self.config.width)
        return (tokens + self.view_embedding).flatten(1, 2)


class FusedVision(nn.Module):
    """Two towers see one picture; their features are joined token by token and projected.

    The fine tower is a small convolution net, good at where things are. The coarse tower embeds
    patches of a picture of half the size, good at what is there. Both give 16-pixel cells.
    """

    def __init__(self, config: TinyVlaSizes) -> None:
        super().__init__()
        fine, coarse, width = config.width, config.width // 2, config.width
        self.fine = nn.Sequential(
            nn.Conv2d(3, 24, kernel_size=5, stride=4, padding=2),
            nn.ReLU(),
            nn.Conv2d(24, 48, kernel_size=3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, fine, kernel_size=3, stride=2, padding=1),
        )
        self.coarse = nn.Conv2d(3, coarse, kernel_size=8, stride=8)
        self.project = nn.Sequential(
            nn.Linear(fine + coarse, width), nn.GELU(), nn.Linear(width, width)
        )
        side = config.image_size // 16
        self.position = nn.Parameter(0.02 * torch.randn(side * side, width))

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, 3, H, W] in -1..1 to [N, G*G, D]."""
        fine = self.fine(pixels).flatten(2)
        coarse = self.coarse(functional.avg_pool2d(pixels, 2)).flatten(2)
        joined = torch.cat((fine, coarse), dim=1).transpose(1, 2)
        return self.project(joined) + self.position


class TinyBlock(nn.Module):
    """A pre-norm transformer block without a causal mask: every token sees every other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * width, width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, S, D] to [N, S, D]."""
        samples, length, width = tokens.shape
        packed = self.query_key_value(self.attention_norm(tokens))
        packed = packed.view(samples, length, 3, self.heads, width // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.attention_out(mixed.transpose(1, 2).reshape(tokens.shape))
        return tokens + self.mlp(self.mlp_norm(tokens))


class TinyValueHead(nn.Module):
    """An MLP on image tokens and the mean action slot. It reads the trunk and does not shape it.

    The gradient stops at its input: with a few hundred samples per update the errors of a young
    critic would otherwise move the features the policy stands on.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, 128), nn.GELU(), nn.Linear(128, outputs)
        )

    def forward(self, features: Tensor) -> Tensor:
        """[N, inputs] to [N, outputs]."""
        return self.mlp(features.detach())


def tokenize(instructions: Sequence[str]) -> Tensor:
    """Words to buckets of a fixed hash: [N, L] int64, padded with 0, cut at L words.

    There is no vocabulary file and nothing to train beforehand. CRC-32 is the same on every
    machine, unlike Python's own `hash`.
    """
    rows = []
    for instruction in instructions:
        words = re.findall(r"[a-z0-9]+", instruction.lower())[:TEXT_LENGTH]
        ids = [1 + zlib.crc32(word.encode()) % (TEXT_BUCKETS - 1) for word in words]
        rows.append(ids + [PADDING] * (TEXT_LENGTH - len(ids)))
    return torch.tensor(rows, dtype=torch.int64).view(-1, TEXT_LENGTH)
