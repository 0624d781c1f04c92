"""`actor.model`: the policy, one class per `model_type`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlinf.config.base import Count, Finite, Precision, Section


class ModelConfig(Section):
    """What every policy has."""

    model_type: str
    """Name of the policy class."""
    model_path: str | None = None
    """Folder of the start weights; None starts from random weights."""
    precision: Precision = "fp32"
    """Number format of the forward pass."""
    action_dim: Count
    """A, size of one action."""
    num_action_chunks: Count
    """C, actions per chunk: the policy acts once for C simulator steps."""
    add_value_head: bool = True
    """Adds the critic; GAE needs it."""
    value_type: Literal["action", "chunk"] = "action"
    """Values per observation: one for each of the C actions, or one for the chunk. Equal to
    `algorithm.reward_type` wherever there is a critic."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""


class MlpConfig(ModelConfig):
    """A tanh multi-layer perceptron over the state vector with Gaussian actions."""

    model_type: Literal["mlp"]
    obs_dim: Count
    """Size of the state vector."""
    hidden_dim: Count = 256
    """Width of every hidden layer."""
    num_layers: Count = 3
    """Number of hidden layers, for policy and critic each."""
    log_std_init: Finite = -0.5
    """Start of the state-independent log standard deviation."""


class TinyVlaConfig(ModelConfig):
    """A small vision-language-action policy of the OpenVLA-OFT kind.

    Images and the instruction go in, 256-bin action tokens for all C actions come out at once.
    """

    model_type: Literal["tiny_vla"]
    image_size: Count = 64
    """Side of the square input image in pixels."""
    num_views: Count = 1
    """Cameras per observation."""
    width: Count = 96
    """Width of the transformer."""
    depth: Count = 2
    """Transformer layers."""
    num_heads: Count = 4
    """Attention heads; divides `width`."""


AnyModel = Annotated[MlpConfig | TinyVlaConfig, Field(discriminator="model_type")]
