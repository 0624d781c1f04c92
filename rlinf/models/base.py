"""What the workers ask of a policy: act, judge a state, and evaluate given actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rlinf.data.random import Noise
from rlinf.data.types import ActionChunk, Observation


@dataclass(frozen=True, slots=True)
class Sampling:
    """How actions are drawn. Rollout and loss must use the same, or the ratio is wrong."""

    temperature: float = 1.0
    top_k: int = 0  # 0: off
    top_p: float = 1.0
    greedy: bool = False  # the most likely action; log-probs are still those of the distribution


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What training needs of N given action chunks; all float32, with gradient."""

    logprobs: Tensor  # [N, C, A] of the given actions, at the rollout's temperature
    entropy: Tensor  # [N, C, A]
    values: Tensor  # [N, C] action level, [N, 1] chunk level, [N, 0] without a value head


class Policy(nn.Module, ABC):
    """A policy for chunks of C actions of A dimensions.

    `version` counts the actor's updates in the present weights. Tokens of a dimension that is not
    `live` never reach the simulator and count in no loss and no metric.
    """

    chunk: int
    action_dim: int
    live: Tensor  # [A] bool buffer
    version: int = 0

    @abstractmethod
    def act(self, observation: Observation, sampling: Sampling, noise: Noise) -> ActionChunk:
        """Chooses a chunk for each of B rows; `noise` supplies every random number."""

    @abstractmethod
    def judge(self, observation: Observation) -> np.ndarray:
        """V of each row before its first action: [B] float32. Only with a value head."""

    @abstractmethod
    def evaluate(
        self, observation: Observation, sampled: np.ndarray, sampling: Sampling
    ) -> Evaluation:
        """Log-probs, entropy and values of the chunks `sampled` ([N, C, A]), with gradient."""

    @abstractmethod
    def value_parameters(self) -> list[nn.Parameter]:
        """Parameters of the value head, which have their own learning rate."""

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return next(self.parameters()).device


class ImitablePolicy(Policy):
    """A policy that can also learn from demonstrations."""

    @abstractmethod
    def set_action_statistics(self, low: np.ndarray, high: np.ndarray) -> None:
        """Sets the range ([A] each, env units) of the actions there are."""

    @abstractmethod
    def imitation_loss(
        self,
        observation: Observation,
        actions: np.ndarray,
        values: np.ndarray,
        smoothing: float,
    ) -> Tensor:
        """Loss of the demonstrated chunks, with gradient.

        Args:
            actions: [N, C, A] float32, env units.
            values: [N] float32, discounted returns of the demonstrations, for the critic.
            smoothing: standard deviation of the labels in bins; 0 for hard labels.
        """
