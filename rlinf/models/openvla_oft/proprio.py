"""The robot's state as one more token of OpenVLA-OFT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from rlinf.errors import UserError
from rlinf.models.files import read_tensors, read_torch_tensors

FILE = "proprio_projector.safetensors"
_ORIGINAL = "proprio_projector--*_checkpoint.pt"  # as OpenVLA-OFT's training leaves it


class ProprioProjector(nn.Module):
    """State [B, S] in the simulator's units to one token [B, 1, H] after the image tokens."""

    low: Tensor  # [S] float32, 1 % quantile
    high: Tensor  # [S] float32, 99 % quantile

    def __init__(self, statistics: Mapping[str, Any], width: int) -> None:
        super().__init__()
        quantiles = [np.asarray(statistics[name], np.float32) for name in ("q01", "q99")]
        size = len(quantiles[0])
        self.register_buffer("low", torch.from_numpy(quantiles[0]), persistent=False)
        self.register_buffer("high", torch.from_numpy(quantiles[1]), persistent=False)
        self.fc1 = nn.Linear(size, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, state: Tensor) -> Tensor:
        """Scales the quantiles to -1..1, clips, and projects."""
        if state.shape[1] != len(self.low):
            raise UserError(
                f"actor.model.use_proprio: the simulator's state has {state.shape[1]} numbers, the "
                f"model was trained with {len(self.low)}",
                "set actor.model.use_proprio=false, or the simulator of the training",
            )
        unit = (2 * (state - self.low) / (self.high - self.low + 1e-8) - 1).clamp(-1, 1)
        hidden = self.fc1(unit.to(self.fc1.weight.dtype))
        return self.fc2(gelu(hidden)).unsqueeze(1)

    def read(self, folder: Path) -> None:
        """Takes the weights in a model folder.

        Raises:
            UserError: if there are none, or others.
        """
        originals = sorted(folder.glob(_ORIGINAL))
        if (folder / FILE).is_file():
            state = read_tensors(folder / FILE)
        elif originals:
            state = read_torch_tensors(originals[-1])
        else:
            raise UserError(
                f"actor.model.use_proprio = true: {folder} has neither {FILE} nor {_ORIGINAL}",
                "set actor.model.use_proprio=false, or take the file from the fine-tuning",
            )
        # DistributedDataParallel puts "module." in front of the names.
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        try:
            self.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(
                f"the proprio projector in {folder} does not fit: {error}",
                "take it and dataset_statistics.json from the same fine-tuning",
            ) from error
