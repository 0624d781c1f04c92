"""Leaving a GPU that other components need, and coming back."""

from __future__ import annotations

import logging

import torch

logger = logging.getLogger(__name__)


def note_memory(what: str, device: torch.device, before: int) -> None:
    """Writes to the worker's log what a move did to the memory of a GPU.

    Args:
        before: bytes of tensors before it, from `allocated`.
    """
    if device.type == "cuda":
        give_back(device)
        now, reserved = allocated(device), torch.cuda.memory_reserved(device)
        logger.info(
            "%s: %.2f GB of tensors on the GPU, %.2f GB before; %.2f GB reserved",
            *(what, now / 1e9, before / 1e9, reserved / 1e9),
        )


def give_back(device: torch.device) -> None:
    """Gives the memory of a GPU that the allocator keeps unused to other processes there."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


def allocated(device: torch.device) -> int:
    """Bytes of tensors on a GPU; 0 on the CPU."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
