"""How the actor's ranks hold the policy: every rank all of it, or every rank a share.

Losses are shares of the whole minibatch's loss, so gradients are added up, not averaged.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from rlinf.config.derive import needs_fsdp
from rlinf.config.schema import ActorConfig
from rlinf.models.base import Policy
from rlinf.models.weights import Layout, copy, join, move, write
from rlinf.workers.process_group import ProcessGroup


class ParallelPolicy(ABC):
    """A policy that several ranks train together, or one alone."""

    in_step = False  # whether ranks must compute each forward pass together
    policy: Policy

    @abstractmethod
    def move(self, device: torch.device) -> None:
        """Moves the policy to a GPU or to host memory."""

    @abstractmethod
    def before_backward(self, last: bool) -> None:
        """To be called before each backward pass.

        Args:
            last: whether it is the last of the update.
        """

    @abstractmethod
    def all_reduce(self, gradients: Sequence[Tensor]) -> None:
        """Makes each gradient that of all ranks, after the backward passes of an update."""

    @abstractmethod
    def clip(self, parameters: Sequence[Tensor], largest_norm: float) -> float:
        """Scales the gradients of all ranks down to a norm; returns the norm before."""

    @abstractmethod
    def settle(self) -> None:
        """To be called before weights change other than by a gradient's update."""

    @abstractmethod
    def write_weights(self, buffer: Tensor | None) -> None:
        """Copies the trainable weights into a buffer ([bytes] uint8) of the layout.

        Args:
            buffer: None on ranks that need none; all ranks take part.
        """

    @abstractmethod
    def share(self, tensor: Tensor) -> Tensor:
        """What this rank holds of a tensor."""


class ReplicatedPolicy(ParallelPolicy):
    """Every rank holds the whole policy; gradients are added up in one message per update."""

    def __init__(
        self, policy: Policy, layout: Layout, device: torch.device, ranks: ProcessGroup
    ) -> None:
        self.policy, self.layout, self.ranks = policy, layout, ranks
        train_in_fp32(policy.parameters())
        self._joined = join(policy, layout)
        self.move(device)

    def move(self, device: torch.device) -> None:
        self._joined = move(self.policy, self.layout, self._joined, device)

    def before_backward(self, last: bool) -> None:
        """There is nothing to do."""

    def all_reduce(self, gradients: Sequence[Tensor]) -> None:
        self.ranks.all_reduce(gradients)

    def clip(self, parameters: Sequence[Tensor], largest_norm: float) -> float:
        return float(torch.nn.utils.clip_grad_norm_(parameters, largest_norm))

    def settle(self) -> None:
        """There is nothing to do."""

    def write_weights(self, buffer: Tensor | None) -> None:
        if buffer is None:
            return
        if self._joined is not None:
            copy(self._joined, buffer)
        else:
            write(self.policy, self.layout, buffer, whole=lambda tensor: tensor)

    def share(self, tensor: Tensor) -> Tensor:
        return tensor


def train_in_fp32(parameters: Iterable[nn.Parameter]) -> None:
    """Those that are trained become fp32, since small updates vanish in bf16; others stay."""
    for parameter in parameters:
        if parameter.requires_grad and parameter.dtype != torch.float32:
            parameter.data = parameter.data.float()


def parallelize(
    policy: Policy,
    layout: Layout,
    actor: ActorConfig,
    device: torch.device,
    ranks: ProcessGroup,
    shard_size: int,
) -> ParallelPolicy:
    """Makes a policy ready to be trained. Its parameters may be replaced.

    Args:
        layout: of the weights on their way to the rollout, taken before.
        device: where this rank computes.
        shard_size: ranks that hold one copy of the weights together; it divides all ranks.
    """
    if not needs_fsdp(actor, shard_size):
        return ReplicatedPolicy(policy, layout, device, ranks)
    from rlinf.workers.fsdp import ShardedPolicy  # takes as long to import as torch itself

    return ShardedPolicy(policy, layout, actor, device, ranks, shard_size)
