"""What the workers ask of a policy: act, value an observation, and evaluate given actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from rlinf.config.base import WEIGHTS_FILE, Compile
from rlinf.config.imitation import ImitationConfig
from rlinf.data.random import Noise
from rlinf.data.statistics import ActionStatistics
from rlinf.data.types import ActionChunk, Observation, Sampled
from rlinf.errors import UserError
from rlinf.models.files import read_tensors, write_tensors


@dataclass(frozen=True, slots=True)
class Sampling:
    """How actions are drawn. Rollout and loss must use the same, or the ratio is wrong."""

    temperature: float = 1.0
    top_k: int = 0  # 0: off
    top_p: float = 1.0
    greedy: bool = False  # the most likely action; log-probs are still those of the distribution


def views_of(observation: Observation, count: int, key: str) -> np.ndarray:
    """What the first `count` cameras show: [B, count, H, W, 3] uint8.

    Args:
        key: of the model's configuration, that says how many it reads.

    Raises:
        UserError: the simulator has fewer.
    """
    given = observation.images.shape[1]
    if given < count:
        raise UserError(
            f"actor.model.{key} = {count}: the simulator shows {given}",
            f"set actor.model.{key}={given}, or add cameras to the simulator"
            if given
            else "choose a simulator, or an env.*.init_params.obs_mode, with pictures",
        )
    return observation.images[:, :count]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What training needs of N given action chunks; all float32, with gradient."""

    logprobs: Tensor  # [N, C, A] of the given actions, at the rollout's temperature
    entropy: Tensor | None  # [N, C, A]; None where no update can change it
    values: Tensor  # [N, C] action level, [N, 1] chunk level, [N, 0] without a value head
    without_noise: Tensor | None = None
    """[N] share of a chunk's transitions whose standard deviation is 0: they have log-prob 0 and no
    gradient. None where a policy draws no transitions."""


pytree.register_dataclass(Evaluation)  # so that sharding finds the tensors it must watch


class Policy(nn.Module, ABC):
    """A policy for chunks of C actions of A dimensions.

    `version` counts the actor's updates in the present weights. Tokens of a dimension that is not
    `live` never reach the simulator and count in no loss and no metric.
    """

    chunk: int
    action_dim: int
    live: Tensor  # [A] bool buffer
    version: int = 0
    parity_tolerance: float = 1e-3
    """Largest mean difference per entry between the log-probs of rollout and learner that rounding
    explains; this one holds for float32."""

    forward_methods: ClassVar[tuple[str, ...]] = ("evaluate",)
    """Methods that compute with gradient, each of which a sharded policy gathers weights for."""

    @abstractmethod
    def act(self, observation: Observation, sampling: Sampling, noise: Noise) -> ActionChunk:
        """Chooses a chunk for each of B rows; `noise` supplies every random number."""

    def compile_act(self, how: Compile | None) -> None:
        """From now on `act` computes with compiled passes, or again without.

        Only where `ModelConfig.compiles`.
        """
        raise NotImplementedError

    @abstractmethod
    def value(self, observation: Observation) -> np.ndarray:
        """V of each row before its first action: [B] float32. Only with a value head."""

    @abstractmethod
    def evaluate(
        self, observation: Observation, sampled: Sampled, sampling: Sampling
    ) -> Evaluation:
        """Log-probs, entropy and values of N chunks that `act` drew, with gradient."""

    @abstractmethod
    def value_parameters(self) -> list[nn.Parameter]:
        """Parameters of the value head, which have their own learning rate."""

    def layers(self) -> list[nn.Module]:
        """The repeated layers, in order of use: what sharding wraps one by one.

        Their weights are used by their `forward` alone.
        """
        return []

    def layers_in_fp32(self) -> list[nn.Module]:
        """Modules that compute in float32 whatever the precision of the rest is.

        Their weights, too, are used by their `forward` alone.
        """
        return []

    def save(
        self, folder: Path, state: Mapping[str, Tensor] | None = None, merge: bool = False
    ) -> None:
        """Writes the weights in the form in which others of this kind are published.

        Args:
            folder: where to; made if it is missing.
            state: the whole state dict, where this process holds only a shard of it.
            merge: fold adapters into the weights they adapt; without adapters it changes nothing.
        """
        write_tensors(self.state_dict() if state is None else state, folder / WEIGHTS_FILE)

    def load(self, folder: Path) -> None:
        """Copies the weights that `save` wrote.

        Raises:
            UserError: if there are none, they are damaged, or they do not fit.
        """
        if not (folder / WEIGHTS_FILE).is_file():
            raise UserError(
                f"{folder} holds no policy: {WEIGHTS_FILE} is missing.",
                "Name a checkpoint (.../checkpoints/global_step_N) or an exported policy folder.",
            )
        try:
            self.load_state_dict(read_tensors(folder / WEIGHTS_FILE))
        except RuntimeError as error:
            raise UserError(
                f"the policy in {folder} does not fit actor.model: {error}",
                "Use the model section the policy was trained with; policy.json beside it has it.",
            ) from error

    @property
    def device(self) -> torch.device:
        """Where the policy computes; its weights may wait elsewhere."""
        return self.live.device


@dataclass(frozen=True, slots=True)
class Imitation:
    """What learning by imitation needs of N demonstrated chunks; all float32.

    Each tensor is [N, ...], with at least one number for every sample and equally many for each, so
    that a mean over samples is a mean over all. Names are those of the metrics below `sft/`.
    """

    losses: dict[str, Tensor]  # with gradient; the mean of each counts alike
    metrics: dict[str, Tensor]  # what else says how well the policy imitates


pytree.register_dataclass(Imitation)  # so that sharding finds the tensors it must watch


class ImitablePolicy(Policy):
    """A policy that can also learn from demonstrations: two methods, for `rlinf sft`.

    Which weights learn is a matter of `requires_grad`: all, or adapters alone. Statistics are part
    of what the policy saves, so that it acts alike wherever it is loaded.
    """

    forward_methods = ("evaluate", "imitate")

    @abstractmethod
    def set_action_statistics(self, statistics: ActionStatistics) -> None:
        """Takes over the range of the actions there are, before the first step."""

    def set_state_statistics(self, statistics: ActionStatistics) -> None:
        """Takes over the range of the robot's state, where the policy reads that."""

    @abstractmethod
    def imitate(
        self, observation: Observation, actions: np.ndarray, values: np.ndarray, noise: Noise
    ) -> Imitation:
        """Compares the policy with N demonstrated chunks.

        Args:
            actions: [N, C, A] float32, as the model emits them; past an episode's end its last.
            values: [N] float32, discounted returns of the demonstrations, for the critic.
            noise: supplies every random number, [N] streams.
        """

    def imitate_with(self, settings: ImitationConfig) -> None:
        """Takes over what `imitation` says about this kind of policy, before the first step."""


class TokenPolicy(ImitablePolicy):
    """A policy whose actions are tokens of bins: one for each dimension of each action."""

    label_smoothing_bins: float = 0.0
    """Standard deviation of the labels, in bins, while the policy trains; 0 for hard labels."""

    def imitate_with(self, settings: ImitationConfig) -> None:
        self.label_smoothing_bins = settings.label_smoothing_bins

    @property
    def smoothing(self) -> float:
        """That of the labels now: none in evaluation mode."""
        return self.label_smoothing_bins if self.training else 0.0

    @staticmethod
    def imitation(
        token_loss: Tensor, value_loss: Tensor, correct: Tensor, error: Tensor
    ) -> Imitation:
        """The names of what all policies of tokens report.

        Args:
            token_loss: [N, K] cross-entropy of each learned token, with gradient.
            value_loss: [N, V] squared error of the critic, with gradient; [N, 0] without one.
            correct: [N, k] 1 where the most likely action token is the demonstrated one, else 0.
            error: [N, C, a] |most likely - demonstrated action|, live dimensions, model units.
        """
        losses = {"token_loss": token_loss}
        if value_loss.shape[1]:
            losses["value_loss"] = value_loss
        return Imitation(losses, {"token_accuracy": correct, "action_error": error})
