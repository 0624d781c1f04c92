"""What a worker does where the memory of its device does not suffice."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from rlinf.errors import OutOfMemory

_log = logging.getLogger(__name__)


class BatchSizeLimit:
    """Largest batch of a forward pass: halved once, for as long as the worker lives."""

    def __init__(self, key: str, most: int | None = None) -> None:
        """
        Args:
            key: of the configuration, that sets the limit.
            most: None for no limit.
        """
        self.key, self.most = key, most
        self.halvings = 0

    def half_of(self, rows: int) -> int | None:
        """What to try where so many rows were too many; None where nothing is left to try."""
        tried = min(rows, self.most or rows)
        return None if self.halvings or tried <= 1 else -(-tried // 2)

    def halve(self, rows: int, table: str, advice: Sequence[str]) -> None:
        """From now on half as many rows, as there was not enough memory for `rows`.

        Args:
            table: what is in the memory, see `memory_table`.
            advice: overrides that need less memory.

        Raises:
            OutOfMemory: they have been halved before, or there is one only.
        """
        half = self.half_of(rows)
        if half is None:
            raise self.error(rows, table, advice)
        _log.warning("not enough memory for %d rows at a time, now %d\n%s", rows, half, table)
        self.most, self.halvings = half, self.halvings + 1
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def error(
        self, rows: int, table: str, advice: Sequence[str], smaller: int | None = None
    ) -> OutOfMemory:
        """What to tell the user."""
        tried = min(rows, self.most or rows)
        after = ", half of what did not fit before" if self.halvings else ""
        less = [f"{self.key}={max(1, tried // 2)}"] if tried > 1 else []
        return OutOfMemory(
            f"{self.key}: there is not enough memory for {tried} "
            f"sample{'s' * (tried > 1)} at a time{after}\n{table}",
            "set " + ", or ".join([*less, *advice]),
            smaller,
        )


def memory_table(device: torch.device, held: Mapping[str, int]) -> str:
    """What is in the memory of a device, a line each.

    Args:
        held: bytes that are there all the time, by what they are.
    """
    rows = dict(held)
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        reserved, peak = torch.cuda.memory_reserved(device), torch.cuda.max_memory_allocated(device)
        rows["activations and buffers, at most"] = max(0, peak - sum(held.values()))
        rows["kept by PyTorch, unused"] = max(0, reserved - peak)
        rows["other processes"] = max(0, total - free - reserved)
        rows["free"] = free
        rows[f"{torch.cuda.get_device_name(device)}, in all"] = total
    width = max(map(len, rows))
    return "\n".join(f"  {what:<{width}} {size / 1e9:8.2f} GB" for what, size in rows.items())


def bytes_on(device: torch.device, tensors: Iterable[Tensor | None]) -> int:
    """Bytes of those tensors that are on the device."""
    return sum(t.nbytes for t in tensors if t is not None and t.device.type == device.type)
