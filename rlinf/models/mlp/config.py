"""Settings of the multi-layer perceptron."""

from __future__ import annotations

from typing import Literal

from rlinf.config.base import Count, Finite, ModelConfig, Spaces


class MlpConfig(ModelConfig):
    """A tanh multi-layer perceptron over the state vector with Gaussian actions."""

    draws_tokens = False
    imitates = False
    recomputes = False
    same_weights = (*ModelConfig.same_weights, "log_std_init")

    model_type: Literal["mlp"]
    """Name of the policy class."""
    precision: Literal["fp32"] = "fp32"
    """Too small to gain from another format."""
    gradient_checkpointing: Literal[False] = False
    """Too small to be worth it."""
    obs_dim: Count
    """Size of the state vector."""
    hidden_dim: Count = 256
    """Width of every hidden layer."""
    num_layers: Count = 3
    """Number of hidden layers, for policy and critic each."""
    log_std_init: Finite = -0.5
    """Start of the state-independent log standard deviation."""

    def spaces(self) -> Spaces:
        return Spaces("state", self.obs_dim, None, self.action_dim)

    def num_parameters(self) -> int:
        hidden = (self.num_layers - 1) * (self.hidden_dim + 1) * self.hidden_dim
        trunk = (self.obs_dim + 1) * self.hidden_dim + hidden
        actions = self.num_action_chunks * self.action_dim
        policy = trunk + (self.hidden_dim + 1) * actions + actions
        critic = trunk + (self.hidden_dim + 1) * self.num_values
        return policy + (critic if self.add_value_head else 0)

    def observation_bytes(self, shown: Spaces) -> int:
        return 4 * self.obs_dim
