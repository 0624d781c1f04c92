"""Memory of a GPU that another process on it reads, by the handles of CUDA's IPC.

Whether two processes may share it (driver, container, MIG) is found out by trying, once; shared
memory of the host is the other way. Not run on a GPU so far.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import reduce_tensor

MARK = bytes(range(64))
"""What the reader has to find in memory that is shared to try it."""


SPARE = 2
"""Weights stay on the GPU where so many times their size is free: the plan does not count them."""


def marked(device: torch.device, size: int) -> Tensor | None:
    """Memory to try sharing with, [64] uint8; None without a GPU, or without room for `size` bytes.

    Args:
        device: on which this process computes.
        size: bytes of the weights that will be shared.
    """
    if device.type == "cpu" or free(device) < SPARE * size:
        return None
    return torch.tensor(list(MARK), dtype=torch.uint8).to(device)


def free(device: torch.device) -> int:
    """Bytes of a GPU that no process has."""
    return torch.cuda.mem_get_info(device)[0]


def export(tensor: Tensor) -> Any:
    """A handle for one process on the same GPU; valid as long as this one keeps the tensor."""
    torch.cuda.synchronize()  # what was written is there
    return reduce_tensor(tensor)


def attach(handle: Any) -> Tensor:
    """The exporter's memory: to be read and then dropped.

    Raises:
        RuntimeError: the two processes cannot share it.
    """
    build, arguments = handle
    opened: Tensor = build(*arguments)
    return opened


def collect() -> None:
    """Frees exported memory that this process and its readers have dropped."""
    torch.cuda.ipc_collect()


def works(handle: Any) -> bool:
    """Whether this process reads the mark in memory of another one."""
    if handle is None:
        return False
    try:
        return bytes(attach(handle).cpu().tolist()) == MARK
    except RuntimeError:
        return False
