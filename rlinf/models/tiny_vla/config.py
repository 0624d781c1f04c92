"""Settings of the tiny VLA."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlinf.config.base import Count, ModelConfig, Spaces


class TinyVlaConfig(ModelConfig):
    """A small vision-language-action policy of the OpenVLA-OFT kind.

    Images and the instruction go in, 256-bin action tokens for all C actions come out at once.
    """

    draws_tokens = True
    views_key = "num_views"

    model_type: Literal["tiny_vla"]
    """Name of the policy class."""
    precision: Literal["fp32"] = "fp32"
    """Too small to gain from another format."""
    image_size: Annotated[Count, Field(multiple_of=16)] = 64
    """Side of the square input image in pixels."""
    num_views: Count = 1
    """Cameras per observation."""
    width: Count = 96
    """Width of the transformer."""
    depth: Count = 2
    """Transformer layers."""
    num_heads: Count = 4
    """Attention heads; divides `width`."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} must divide width {self.width}")
        return self

    def spaces(self) -> Spaces:
        size = (self.image_size, self.image_size)
        return Spaces("images", None, size, self.action_dim, self.num_views)

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

    def observation_bytes(self, shown: Spaces) -> int:
        return self.num_views * self.image_size**2 * 3
