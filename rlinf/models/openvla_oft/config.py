"""Settings of OpenVLA-OFT."""

from __future__ import annotations

from typing import Literal

from rlinf.config.base import Count
from rlinf.models.prismatic.config import PrismaticConfig


class OpenVlaOftConfig(PrismaticConfig):
    """OpenVLA-OFT with discrete tokens: all C x A tokens in one pass."""

    parallel = True

    model_type: Literal["openvla_oft"]
    """Name of the policy class."""
    num_action_chunks: Count = 8
    """C, actions per chunk; that of the fine-tuning."""
    use_proprio: bool = False
    """Show the robot's state too, through the projector in the folder."""
