"""What the model reads: prompt, pictures and state; and the scales of state and actions.

Letters: B rows, V pictures of a row, L tokens of the prompt, S numbers of the simulator's state,
A numbers of an action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rlinf.errors import UserError
from rlinf.models.gr00t.folder import ROWS, Gr00tFolder

_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
_ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"
_PADDING = "<|endoftext|>"
_KEPT = 0.95  # side of a picture's crop


class Gr00tPrompts:
    """Instructions and places of pictures as the model was trained to read them."""

    def __init__(self, folder: Gr00tFolder, views: int) -> None:
        from transformers import Qwen2Tokenizer

        try:
            self._tokenizer = Qwen2Tokenizer.from_pretrained(str(folder.processor))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{folder.processor}: its tokenizer cannot be read: {error}",
                "copy or download the processor again",
            ) from error
        image = self._tokenizer.convert_ids_to_tokens(folder.image_token)
        pictures = "".join(
            f"<image {number}><img>{image * folder.patches}</img>" for number in range(1, views + 1)
        )
        self._before = _SYSTEM + pictures
        self._pad = self._tokenizer.convert_tokens_to_ids(_PADDING)
        self._known: dict[str, Tensor] = {}

    def ids(self, instruction: str) -> Tensor:
        """[L] int64; the instruction as it was given, no lower case."""
        if instruction not in self._known:
            text = self._before + instruction + _ASSISTANT
            found = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            self._known[instruction] = torch.tensor(found)
        return self._known[instruction]

    def batch(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids [B, L] int64, padded on the left, and which are real [B, L] bool."""
        rows = [self.ids(text) for text in instructions]
        length = max(map(len, rows))
        ids = torch.full((len(rows), length), self._pad)
        real = torch.zeros(len(rows), length, dtype=torch.bool)
        for row, given in enumerate(rows):
            ids[row, length - len(given) :] = given
            real[row, length - len(given) :] = True
        return ids, real


def pixels(images: np.ndarray, size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Pictures as the vision tower takes them: [B * V, 3, size, size], those of a row together.

    The middle 95 % of each side, resized with antialiasing, cut to 256 levels as the original's
    uint8 pictures are.

    Args:
        images: [B, V, H, W, 3] uint8 RGB.
    """
    shown = torch.from_numpy(np.ascontiguousarray(images)).to(device).flatten(0, 1)
    shown = shown.permute(0, 3, 1, 2).float() / 255
    height, width = (int(side * _KEPT) for side in shown.shape[2:])
    top, left = (round((a - b) / 2) for a, b in zip(shown.shape[2:], (height, width), strict=True))
    shown = shown[:, :, top : top + height, left : left + width]
    shown = functional.interpolate(shown, (size, size), mode="bilinear", antialias=True)
    levels = (shown * 255).to(torch.uint8).float()
    return ((levels / 255 - 0.5) / 0.5).to(dtype)


class Scale(nn.Module):
    """Numbers to about -1..1 and back, by the statistics of some keys, one after the other.

    The statistics are a buffer, so that checkpoints hold them beside the weights.
    """

    numbers: Tensor  # [6, n] float64, rows as in `ROWS`

    def __init__(self, statistics: Mapping[str, Any], keys: Sequence[str], kind: str) -> None:
        super().__init__()
        self.kind, self.keys = kind, tuple(keys)
        self.sizes = tuple(len(statistics[key]["min"]) for key in keys)
        rows = [[number for key in keys for number in statistics[key][row]] for row in ROWS]
        self.register_buffer("numbers", torch.tensor(rows, dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        """[..., n] float32 in the data's units to the model's."""
        low, high, mean, std, q01, q99 = self.numbers.float()
        if self.kind == "binary":
            return (values > 0.5).float()
        if self.kind == "mean_std":
            return torch.where(std == 0, values, (values - mean) / std)
        if self.kind == "min_max":
            same = low == high
            return torch.where(same, 0.0, 2 * (values - low) / (high - low) - 1)
        same = q01 == q99
        return torch.where(same, values, 2 * (values - q01) / (q99 - q01) - 1).clamp(-1, 1)

    def inverse(self, values: Tensor) -> Tensor:
        """[..., n] float32 in the model's units to the data's; nothing is clipped."""
        low, high, mean, std, q01, q99 = self.numbers.float()
        if self.kind == "binary":
            return (values > 0.5).float()
        if self.kind == "mean_std":
            return values * std + mean
        if self.kind == "q99":
            low, high = q01, q99
        return (values + 1) / 2 * (high - low) + low

    def varies(self) -> Tensor:
        """[n] bool: which numbers the data has more than one value of."""
        low, high, *_ = self.numbers
        return low < high

    def take(self, rows: np.ndarray) -> None:
        """Scales as other data needs it from now on; [6, n], rows as in `ROWS`."""
        self.numbers.copy_(torch.from_numpy(rows))

    def describe(self) -> dict[str, dict[str, list[float]]]:
        """Key -> min, max, ... as metadata.json has them."""
        parts = self.numbers.split(self.sizes, dim=1)
        return {
            key: {name: row.tolist() for name, row in zip(ROWS, part, strict=True)}
            for key, part in zip(self.keys, parts, strict=True)
        }
