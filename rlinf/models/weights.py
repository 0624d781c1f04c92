"""The trainable weights of a policy in one buffer: what travels from actor to rollout.

Only parameters that an update can change are in it, in the number format of the rollout's policy,
sorted by format, each at an offset that both sides compute alike.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor, nn

_ALIGNMENT = 64  # bytes; a cache line, and more than any format needs


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one parameter lies."""

    name: str
    shape: torch.Size
    dtype: torch.dtype
    offset: int  # in bytes

    @property
    def size(self) -> int:
        """Bytes of the parameter."""
        return self.shape.numel() * self.dtype.itemsize


class Layout:
    """Where each trainable parameter of a policy lies in the buffer."""

    def __init__(self, policy: nn.Module) -> None:
        """Taken from the policy as it was built: training may change formats, not the layout."""
        trained = [(name, p) for name, p in policy.named_parameters() if p.requires_grad]
        trained.sort(key=lambda item: str(item[1].dtype))  # stable: in order within a format
        sizes = [p.numel() * p.element_size() for _, p in trained]
        offsets = [0, *accumulate(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes)]
        self.size = offsets.pop()  # bytes of the buffer
        self.slots = tuple(
            Slot(name, p.shape, p.dtype, offset)
            for (name, p), offset in zip(trained, offsets, strict=True)
        )
        self.digest = hashlib.sha256("\n".join(map(str, self.slots)).encode()).hexdigest()

    def place(self, buffer: Tensor, slot: Slot) -> Tensor:
        """The parameter's place in a buffer ([bytes] uint8)."""
        return buffer[slot.offset : slot.offset + slot.size].view(slot.dtype).view(slot.shape)


def join(policy: nn.Module, layout: Layout) -> Tensor | None:
    """Moves the trainable parameters into one piece of memory of the layout, next to each other.

    They then travel by one copy, which is several times as fast as hundreds of small ones. To be
    called where the policy was built, in host memory: on a GPU it would need room for them twice.

    Returns:
        [bytes] uint8, which the parameters share from now on; None where training holds them in
        another format than they travel in.
    """
    parameters = dict(policy.named_parameters())
    if any(parameters[slot.name].dtype != slot.dtype for slot in layout.slots):
        return None
    device = next((parameters[slot.name].device for slot in layout.slots), None)
    joined = torch.zeros(layout.size, dtype=torch.uint8, device=device)
    for slot in layout.slots:
        place, parameter = layout.place(joined, slot), parameters[slot.name]
        place.copy_(parameter.detach())
        parameter.data = place
    return joined


def move(
    policy: nn.Module, layout: Layout, joined: Tensor | None, device: torch.device
) -> Tensor | None:
    """Moves a policy to a device, each weight once.

    Args:
        joined: what `join` or this returned.

    Returns:
        The trainable weights there, in one piece where they were.
    """
    if joined is not None:
        joined = joined.to(device)
        parameters = dict(policy.named_parameters())
        for slot in layout.slots:
            parameters[slot.name].data = layout.place(joined, slot)
    policy.to(device)
    return joined


def write(
    policy: nn.Module, layout: Layout, buffer: Tensor | None, whole: Callable[[Tensor], Tensor]
) -> None:
    """Copies the trainable parameters into a buffer ([bytes] uint8), each once.

    They are cast before they are gathered and copied: by all ranks, each its share, where they are.
    Torch itself casts on its way from a GPU to host memory on the host, by one core.

    Args:
        buffer: None on ranks that only give their shares.
        whole: the full tensor of a parameter; where it is sharded all ranks take part.
    """
    parameters = dict(policy.named_parameters())
    for slot in layout.slots:
        weight = whole(parameters[slot.name].detach().to(slot.dtype))
        if buffer is not None:
            layout.place(buffer, slot).copy_(weight)


def copy(source: Tensor, target: Tensor) -> None:
    """Copies bytes ([bytes] uint8): by memcpy in host memory, twice as fast as torch's loop."""
    if source.device.type == target.device.type == "cpu":
        np.copyto(target.numpy(), source.numpy())
    else:
        target.copy_(source)


def as_tensor(data: np.ndarray) -> Tensor:
    """A tensor on an array's own memory, which may be read-only: it is never written to."""
    with warnings.catch_warnings():  # torch knows no read-only tensors
        warnings.simplefilter("ignore")
        return torch.from_numpy(data)
