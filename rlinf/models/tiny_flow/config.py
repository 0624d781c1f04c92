"""Settings of the tiny flow policy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlinf.config.base import Count
from rlinf.models.flow.config import FlowConfig
from rlinf.models.tiny_vla.base_config import TinyConfig


class TinyFlowConfig(TinyConfig, FlowConfig):
    """A small vision-language-action policy with GR00T-N1.5's action head.

    Two small towers see the pictures; the head denoises all C actions of a chunk together.
    """

    model_type: Literal["tiny_flow"]
    """Name of the policy class."""
    gradient_checkpointing: Literal[False] = False
    """Too small to be worth it."""
    width: Annotated[Count, Field(multiple_of=4)] = 96
    """Width of tokens."""
    depth: Count = 4
    """Blocks of the diffusion transformer; every other one looks at the pictures."""

    @property
    def seen(self) -> int:
        """Numbers of the image tokens of an observation."""
        return self.num_views * (self.image_size // 16) ** 2 * self.width

    def num_parameters(self) -> int:
        width, seen, actions = self.width, self.seen, self.action_dim
        grid = (self.image_size // 16) ** 2
        coarse = width // 2
        vision = 12_240 + 433 * width + 193 * coarse + (width + coarse + 1) * width
        vision += (width + 1 + grid) * width
        text = (self.num_views + 520) * width
        linear = (width + 1) * width
        state = (seen + 1) * width + linear
        encoder = (actions + 1) * width + (2 * width + 1) * width + linear
        decoder = linear + (width + 1) * actions
        tokens = (4 + self.num_action_chunks) * width
        block = 4 * linear + 8 * width**2 + 5 * width
        looking = 2 * width + block + 4 * width
        dit = 257 * width + linear + self.depth * (block + 2 * linear) + 2 * linear + linear
        critic = (seen + width) * 130 + 128 + 129 * self.num_values
        noise = (width + 1) * 128 + 129 * 64 + 65 * actions
        total = vision + text + state + encoder + decoder + tokens + looking + dit
        total += noise * (self.noise_method == "reinflow")
        return total + critic * self.add_value_head
