"""What the small policies that see pictures have in common."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rlinf.config.base import Count, ModelConfig, Spaces


class TinyConfig(ModelConfig):
    """Square pictures of one or more cameras, seen by two small towers."""

    views_key = "num_views"

    precision: Literal["fp32"] = "fp32"
    """Too small to gain from another format."""
    image_size: Annotated[Count, Field(multiple_of=16)] = 64
    """Side of the square input image in pixels."""
    num_views: Count = 1
    """Cameras per observation."""
    width: Count = 96
    """Width of tokens and of the transformer."""
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

    def observation_bytes(self, shown: Spaces) -> int:
        return self.num_views * self.image_size**2 * 3
