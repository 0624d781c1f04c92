"""The two vision towers and the projector, with the names of the published weights.

Plain PyTorch with timm's structure rather than timm itself: timm imports torchvision, whose binary
has to match the one of PyTorch and is not on the package index for CPUs. Kept and not computed are
the last block, the final norm and the pooling head, since the features come from the block before.

Letters: N pictures, P patches of a picture, D width of the tower.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rlinf.models.prismatic.model_folder import Architecture, Tower

_EPS = 1e-6


class Attention(nn.Module):
    """Multi-head self-attention; every patch sees every other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, P, D] to [N, P, D]."""
        pictures, length, width = tokens.shape
        packed = self.qkv(tokens).view(pictures, length, 3, self.heads, width // self.heads)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.proj(mixed.transpose(1, 2).reshape(tokens.shape))


class Mlp(nn.Module):
    """Two layers with the exact GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return self.fc2(functional.gelu(self.fc1(tokens)))


class LayerScale(nn.Module):
    """A factor for each channel, where the tower has one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_factor = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, tokens: Tensor) -> Tensor:
        """[..., D] to [..., D]."""
        return tokens * self.scale_factor


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(tower.width, eps=_EPS)
        self.attn = Attention(tower.width, tower.heads)
        self.ls1 = LayerScale(tower.width) if tower.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(tower.width, eps=_EPS)
        self.mlp = Mlp(tower.width, tower.mlp_width)
        self.ls2 = LayerScale(tower.width) if tower.layer_scale else nn.Identity()
        self.checkpointing = False  # compute activations again in the backward pass

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, P, D] to [N, P, D]."""
        # Inside `forward`, so that hooks of sharding around it run once.
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._compute, tokens, use_reentrant=False)
        return self._compute(tokens)

    def _compute(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class PatchEmbedding(nn.Module):
    """One convolution whose stride is the patch."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, tower.width, tower.patch, stride=tower.patch)

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, 3, S, S] to [N, P, D]."""
        return self.proj(pixels).flatten(2).transpose(1, 2)


class PoolingHead(nn.Module):
    """The weights of SigLIP's attention pooling; they are only kept."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        width = tower.width
        self.latent = nn.Parameter(torch.zeros(1, 1, width))
        self.q, self.kv = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.mlp = Mlp(width, tower.mlp_width)


class VisionTower(nn.Module):
    """A vision transformer up to its last block but one."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.prefix = tower.prefix
        self.patch_embed = PatchEmbedding(tower)
        self.pos_embed = nn.Parameter(torch.zeros(1, tower.patches, tower.width))
        if tower.prefix:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, tower.width))
            self.reg_token = nn.Parameter(torch.zeros(1, tower.prefix - 1, tower.width))
        self.blocks = nn.ModuleList(Block(tower) for _ in range(tower.depth))
        self.norm = nn.LayerNorm(tower.width, eps=_EPS)
        if tower.pooling:
            self.attn_pool = PoolingHead(tower)

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, 3, S, S] normalised to [N, P, D]; class and register tokens are left out."""
        tokens = self.patch_embed(pixels) + self.pos_embed
        if self.prefix:
            prefix = torch.cat((self.cls_token, self.reg_token), dim=1)
            tokens = torch.cat((prefix.expand(len(tokens), -1, -1), tokens), dim=1)
        for block in self.computed():
            tokens = block(tokens)
        return tokens[:, self.prefix :]

    def computed(self) -> list[nn.Module]:
        """The blocks that a forward pass reaches."""
        return list(self.blocks)[:-1]

    def unused(self) -> list[nn.Module]:
        """What is kept for others and never computed."""
        pooling = [self.attn_pool] if hasattr(self, "attn_pool") else []
        return [self.blocks[-1], self.norm, *pooling]


class VisionBackbone(nn.Module):
    """Both towers see every picture; their features are joined patch by patch."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dino, siglip = architecture.towers
        self.featurizer = VisionTower(dino)
        self.fused_featurizer = VisionTower(siglip)

    def forward(self, pixels: Tensor) -> Tensor:
        """[N, 6, S, S], three channels for each tower, to [N, P, D + D']."""
        dino, siglip = pixels.split(3, dim=1)
        return torch.cat((self.featurizer(dino), self.fused_featurizer(siglip)), dim=2)


class Projector(nn.Module):
    """Three layers from vision features to the language model's width."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        features, hidden, width = architecture.projector
        self.fc1 = nn.Linear(features, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.fc3 = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        """[N, P, D + D'] to [N, P, H]."""
        hidden = functional.gelu(self.fc2(functional.gelu(self.fc1(features))))
        return self.fc3(hidden)
