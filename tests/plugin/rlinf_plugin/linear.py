"""`linear`: Gaussian actions whose mean is a linear function of the state."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.config.base import Count, ModelConfig, Spaces
from rlinf.data.random import Noise
from rlinf.data.types import ActionChunk, Observation, Sampled
from rlinf.models.base import Evaluation, Policy, Sampling
from rlinf.registry import ModelSpec


class LinearConfig(ModelConfig):
    """A policy with one layer, and a critic with one."""

    draws_tokens = False

    model_type: Literal["linear"]
    """Name of the policy class."""
    obs_dim: Count
    """Size of the state vector."""

    def spaces(self) -> Spaces:
        return Spaces("state", self.obs_dim, None, self.action_dim)

    def num_parameters(self) -> int:
        outputs = self.num_action_chunks * self.action_dim
        return (self.obs_dim + 1) * (outputs + self.num_values)

    def observation_bytes(self, shown: Spaces) -> int:
        return 4 * self.obs_dim


class LinearPolicy(Policy):
    """Unit variance, so that a gradient moves the mean alone."""

    def __init__(self, config: LinearConfig) -> None:
        super().__init__()
        self.chunk, self.action_dim = config.num_action_chunks, config.action_dim
        self.mean = nn.Linear(config.obs_dim, self.chunk * self.action_dim)
        self.critic = nn.Linear(config.obs_dim, config.num_values)
        self.register_buffer("live", torch.ones(self.action_dim, dtype=torch.bool))

    @torch.inference_mode()
    def act(self, observation: Observation, sampling: Sampling, noise: Noise) -> ActionChunk:
        distribution, values = self._forward(observation)
        uniform = torch.from_numpy(noise.uniform(self.chunk, self.action_dim))
        draw = distribution.mean + (0 if sampling.greedy else torch.special.ndtri(uniform).float())
        logprobs = distribution.log_prob(draw).numpy()
        actions = draw.numpy()
        return ActionChunk(actions, {"draw": actions}, logprobs, values.numpy(), self.version)

    @torch.inference_mode()
    def value(self, observation: Observation) -> np.ndarray:
        return self._forward(observation)[1][:, 0].numpy()

    def evaluate(
        self, observation: Observation, sampled: Sampled, sampling: Sampling
    ) -> Evaluation:
        distribution, values = self._forward(observation)
        given = torch.from_numpy(sampled["draw"])
        return Evaluation(distribution.log_prob(given), distribution.entropy(), values)

    def value_parameters(self) -> list[nn.Parameter]:
        return list(self.critic.parameters())

    def _forward(self, observation: Observation) -> tuple[torch.distributions.Normal, Tensor]:
        state = torch.from_numpy(observation.state)
        mean = self.mean(state).view(-1, self.chunk, self.action_dim)
        return torch.distributions.Normal(mean, torch.ones_like(mean)), self.critic(state)


SPEC = ModelSpec(settings=f"{__name__}:LinearConfig", policy=f"{__name__}:LinearPolicy")
