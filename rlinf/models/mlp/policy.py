"""A tanh multi-layer perceptron over the state vector, with Gaussian actions and its own critic."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.data.random import Noise
from rlinf.data.types import ActionChunk, Observation, Sampled
from rlinf.errors import UserError
from rlinf.models.base import Evaluation, Policy, Sampling
from rlinf.models.mlp.config import MlpConfig

DRAW = "draw"  # [B, C, A] float32 in `sampled`: the actions before the simulator clips them


class MlpPolicy(Policy):
    """Independent Gaussians whose standard deviation does not depend on the state.

    The draw itself is recorded in `ActionChunk.sampled`; the simulator clips it to its limits, the
    log-probs are those of the unclipped draw. Temperature scales the standard deviation.
    """

    def __init__(self, config: MlpConfig) -> None:
        super().__init__()
        self.chunk, self.action_dim = config.num_action_chunks, config.action_dim
        self.obs_dim = config.obs_dim
        outputs = self.chunk * self.action_dim
        self.mean = _perceptron(config.obs_dim, config.hidden_dim, config.num_layers, outputs, 0.01)
        self.log_std = nn.Parameter(torch.full((outputs,), config.log_std_init))
        values = {"action": self.chunk, "chunk": 1}[config.value_type]
        self.value_head = (
            _perceptron(config.obs_dim, config.hidden_dim, config.num_layers, values, 1.0)
            if config.add_value_head
            else None
        )
        self.register_buffer("live", torch.ones(self.action_dim, dtype=torch.bool))

    @torch.inference_mode()
    def act(self, observation: Observation, sampling: Sampling, noise: Noise) -> ActionChunk:
        state = self._state(observation)
        distribution = self._distribution(state, sampling)
        if sampling.greedy:
            drawn = distribution.mean
        else:
            uniform = torch.from_numpy(noise.uniform(self.chunk, self.action_dim)).to(self.device)
            normal = torch.special.ndtri(uniform).float()
            drawn = distribution.mean + distribution.stddev * normal
        actions = drawn.cpu().numpy()
        return ActionChunk(
            actions=actions,
            sampled={DRAW: actions},
            logprobs=distribution.log_prob(drawn).cpu().numpy(),
            values=self._values(state).cpu().numpy(),
            version=self.version,
        )

    @torch.inference_mode()
    def value(self, observation: Observation) -> np.ndarray:
        return self._values(self._state(observation))[:, 0].cpu().numpy()

    def evaluate(
        self, observation: Observation, sampled: Sampled, sampling: Sampling
    ) -> Evaluation:
        state = self._state(observation)
        distribution = self._distribution(state, sampling)
        given = torch.from_numpy(sampled[DRAW]).to(self.device)
        return Evaluation(distribution.log_prob(given), distribution.entropy(), self._values(state))

    def value_parameters(self) -> list[nn.Parameter]:
        return list(self.value_head.parameters()) if self.value_head is not None else []

    def _state(self, observation: Observation) -> Tensor:
        given = observation.state.shape[1]
        if given != self.obs_dim:
            raise UserError(
                f"actor.model.obs_dim = {self.obs_dim}: the simulator's state has {given} numbers",
                f"set actor.model.obs_dim={given}",
            )
        return torch.from_numpy(observation.state).to(self.device)

    def _distribution(self, state: Tensor, sampling: Sampling) -> torch.distributions.Normal:
        shape = (len(state), self.chunk, self.action_dim)
        mean = self.mean(state).view(shape)
        std = self.log_std.exp().view(shape[1:]) * math.sqrt(sampling.temperature)
        return torch.distributions.Normal(mean, std.expand_as(mean), validate_args=False)

    def _values(self, state: Tensor) -> Tensor:
        return (
            self.value_head(state)
            if self.value_head is not None
            else state.new_zeros(len(state), 0)
        )


def _perceptron(inputs: int, hidden: int, layers: int, outputs: int, gain: float) -> nn.Sequential:
    """Tanh layers with orthogonal initial weights (Andrychowicz et al. 2021, What Matters in
    On-Policy RL, choice of last-layer scale); `gain` scales the last layer.
    """
    modules: list[nn.Module] = []
    width = inputs
    for _ in range(layers):
        modules += [_linear(width, hidden, math.sqrt(2)), nn.Tanh()]
        width = hidden
    return nn.Sequential(*modules, _linear(width, outputs, gain))


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
