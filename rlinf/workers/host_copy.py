"""An actor rank's side of the host copy: its state in memory of its machine, which outlives it.

A rank copies policy, optimizer and counters there after each iteration. If it fails, the rank that
replaces it takes them back, and no completed iteration is lost. Who owns the memory, and which
iteration a copy is of, is known to the launcher: `runners/host_copy.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from rlinf.data.shared import Handle, SharedMemory
from rlinf.metrics.timeline import Spans
from rlinf.models import shards
from rlinf.workers.training import TrainingWorker

_ALIGNMENT = 64  # bytes, as in models/weights.py


class HostCopyWorker(TrainingWorker):
    """A training rank whose state has a host copy."""

    spans: Spans
    _host_copy: _Tensors

    def host_copy_bytes(self) -> int:
        """Size of this rank's part of the copy."""
        return _offsets(self._local_state(self._counters()))[-1]

    def use_host_copy(self, memory: Handle) -> None:
        """From now on `write_host_copy` and `read_host_copy` use this memory of another process."""
        self._host_copy = _Tensors(memory)

    def write_host_copy(self) -> None:
        """Copies this rank's part of policy, optimizer and counters."""
        with self.spans.span("host copy"):
            self._host_copy.write(self._local_state(self._counters()))

    def read_host_copy(self) -> None:
        """Continues from what the rank of this number copied last."""
        self.micro_batches.given_up.clear()
        self.parallel.settle()
        counters = self._counters()
        self._host_copy.read(self._local_state(counters))
        self.policy.version, self.skipped = counters.tolist()

    def _counters(self) -> Tensor:
        return torch.tensor([self.policy.version, self.skipped])

    def _local_state(self, counters: Tensor) -> list[Tensor]:
        """What this rank holds of the state: the tensors themselves."""
        state = self._state()
        moments = [moment for one in state["optimizer"].values() for moment in one.values()]
        shares = map(self.parallel.share, [*state[shards.POLICY].values(), *moments])
        return [*shares, counters]


class _Tensors:
    """Shared memory for a list of tensors, always of the same shapes and dtypes."""

    def __init__(self, handle: Handle) -> None:
        self._buffer = torch.from_numpy(SharedMemory.open(handle, writable=True).array)

    @torch.no_grad()
    def write(self, tensors: Sequence[Tensor]) -> None:
        """Copies them into the memory."""
        for place, tensor in zip(self._places(tensors), tensors, strict=True):
            place.copy_(tensor)

    @torch.no_grad()
    def read(self, tensors: Sequence[Tensor]) -> None:
        """Copies what was written into tensors of the same shapes."""
        for place, tensor in zip(self._places(tensors), tensors, strict=True):
            tensor.copy_(place)

    def _places(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        offsets = _offsets(tensors)
        assert offsets[-1] == len(self._buffer), "a rank's state has always the same size"
        return [
            self._buffer[offset : offset + t.nbytes].view(t.dtype).view(t.shape)
            for offset, t in zip(offsets, tensors, strict=False)
        ]


def _offsets(tensors: Sequence[Tensor]) -> list[int]:
    """Where each begins in the memory, and last the size of all."""
    return [0, *accumulate(-(-t.nbytes // _ALIGNMENT) * _ALIGNMENT for t in tensors)]
