"""What every worker process does first."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rlinf.devices import device_of_process
from rlinf.signals import leave_to_launcher

if TYPE_CHECKING:
    import torch


def prepare_process(name: str, log_dir: str) -> None:
    """Log file and signals of a worker process."""
    leave_to_launcher()
    folder = Path(log_dir)
    folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=folder / f"{name}.log",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    logging.getLogger(__name__).info("%s starts in %s", name, sys.executable)


def prepare_torch(threads: int, wanted: str | None = None) -> torch.device:
    """Threads and arithmetic of a process that computes; env workers do without torch.

    Args:
        wanted: device of a process that is not alone on its placement; see `device_of_process`.

    Returns:
        The GPU of the process's placement, which is made torch's current one before anything else
        chooses a device, such as a device mesh; or the CPU where the process has none.

    Raises:
        UserError: the process was placed on a GPU, and CUDA does not come up.
    """
    import torch

    torch.set_num_threads(threads)
    # A subnormal costs a hundred times a normal number on a CPU, and late in training they occur.
    torch.set_flush_denormal(True)
    device = torch.device(device_of_process(wanted))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
