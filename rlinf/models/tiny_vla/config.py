"""Settings of the tiny VLA."""

from __future__ import annotations

from typing import Literal

from rlinf.config.base import Count
from rlinf.models.tiny_vla.base_config import TinyConfig


class TinyVlaConfig(TinyConfig):
    """A small vision-language-action policy of the OpenVLA-OFT kind.

    Images and the instruction go in, 256-bin action tokens for all C actions come out at once.
    """

    draws_tokens = True

    model_type: Literal["tiny_vla"]
    """Name of the policy class."""
    depth: Count = 2
    """Transformer layers."""

    def num_parameters(self) -> int:
        width, grid = self.width, (self.image_size // 16) ** 2
        coarse, seen = width // 2, self.num_views * grid * width
        vision = 12_240 + 433 * width + 193 * coarse + (width + coarse + 1) * width
        vision += (width + 1 + grid) * width
        tokens = (self.num_views + 520 + self.num_action_chunks * self.action_dim) * width
        summary = (seen + 1) * 256 + 257 * width
        trunk = self.depth * (12 * width**2 + 13 * width)
        actions = 2 * width + 256 * (width + 1)
        critic = (seen + width) * 130 + 128 + 129 * self.num_values
        return vision + tokens + summary + trunk + actions + critic * self.add_value_head
