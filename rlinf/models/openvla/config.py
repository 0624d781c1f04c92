"""Settings of OpenVLA."""

from __future__ import annotations

from typing import Literal

from rlinf.models.prismatic.config import PrismaticConfig


class OpenVlaConfig(PrismaticConfig):
    """OpenVLA: one action of A tokens, one token after the other."""

    parallel = False

    model_type: Literal["openvla"]
    """Name of the policy class."""
    num_action_chunks: Literal[1] = 1
    """C: the model was trained to give one action at a time."""
    num_images_in_input: Literal[1] = 1
    """V: the model was trained on one image."""
