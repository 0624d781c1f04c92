"""The reference policy of the KL term: the one that training started from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from rlinf.models import shards
from rlinf.models.base import Policy
from rlinf.workers.policy_parallel import ParallelPolicy


class ReferencePolicy:
    """The trained weights that training started from, in host memory.

    Frozen weights are the same now as then. So with LoRA this is a copy of the adapters, and the
    frozen base serves both policies.
    """

    def __init__(self, policy: Policy, parallel: ParallelPolicy) -> None:
        """Copies what this rank holds of the trained weights, as they are now."""
        self._policy, self._parallel = policy, parallel
        self._other = {name: _on_host(share) for name, share in self._shares()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside it the policy has the weights of the reference policy."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def write(self, folder: Path, group: dist.ProcessGroup | None) -> None:
        """Writes them to a checkpoint; every rank takes part.

        Raises:
            OSError: a disk is full or not writable.
        """
        with self.in_place():
            weights = {shards.POLICY: shards.trained_of(self._policy)}
            writing = shards.begin_to_write(weights, folder / shards.REFERENCE, group)
        problem = shards.problem_of(writing)
        if problem is not None:
            raise OSError(problem)

    def read(self, folder: Path) -> None:
        """Takes those that a checkpoint holds; every rank takes part."""
        with self.in_place():
            weights = {shards.POLICY: shards.trained_of(self._policy)}
            shards.read(weights, folder / shards.REFERENCE, alone=not dist.is_initialized())

    @torch.no_grad()
    def _swap(self) -> None:
        self._parallel.settle()
        for name, share in self._shares():
            present = _on_host(share)
            share.copy_(self._other[name])
            self._other[name] = present

    def _shares(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self._policy.named_parameters():
            if parameter.requires_grad:
                yield name, self._parallel.share(parameter.detach())


def _on_host(tensor: Tensor) -> Tensor:
    return tensor.to("cpu", copy=True)
