"""Text and actions as tokens.

An action dimension is one of 256 tokens, the last of the text vocabulary: 31744..31999 where that
has 32,000. The interval -1..1 is cut by 256 edges into 255 bins; the highest id is the lowest bin,
and the two lowest ids share the highest bin (Kim et al. 2024, OpenVLA, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from rlinf.data.statistics import ActionStatistics
from rlinf.errors import UserError
from rlinf.models.prismatic.model_folder import ACTION_BINS

BEGIN, END = 1, 2  # <s>, </s>
WORD_BOUNDARY = 29871  # the token after "Out:", from which the first action token is predicted
ROWS = ("q01", "q99", "min", "max", "mean", "std")
"""Statistics of an action that are kept."""
_EDGES = np.linspace(-1.0, 1.0, ACTION_BINS)
_CENTRES = (_EDGES[:-1] + _EDGES[1:]) / 2.0


class Prompts:
    """Instructions as the model was trained to read them."""

    def __init__(self, folder: Path, pad_token: int) -> None:
        path = folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises no type of its own
            raise UserError(
                f"{path} cannot be read: {error}", "copy or download the model folder again"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._pad = pad_token
        self._known: dict[str, list[int]] = {}

    def ids(self, instruction: str) -> list[int]:
        """`<s>`, the prompt, and the word boundary."""
        text = f"In: What action should the robot take to {instruction.lower()}?\nOut:"
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [BEGIN, *ids] + [WORD_BOUNDARY] * (ids[-1] != WORD_BOUNDARY)

    def batch(self, instructions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids [B, L] int64 and which are real [B, L] bool.

        Shorter rows are padded after `<s>`, so that all prompts end in the same column.
        """
        for text in set(instructions) - self._known.keys():
            self._known[text] = self.ids(text)
        rows = [self._known[text] for text in instructions]
        length = max(map(len, rows))
        ids = torch.full((len(rows), length), self._pad)
        real = torch.zeros(len(rows), length, dtype=torch.bool)
        for row, given in enumerate(rows):
            ids[row, 0], real[row, 0] = given[0], True
            ids[row, length - len(given) + 1 :] = torch.tensor(given[1:])
            real[row, length - len(given) + 1 :] = True
        return ids, real


class ActionScale(nn.Module):
    """From action tokens to the units of a data set and back, by the statistics of a data set.

    The statistics are a buffer, so that checkpoints hold them beside the weights.
    """

    numbers: Tensor  # [6, A] float64, rows as in `ROWS`; not a number where it is not known
    scaled: Tensor  # [A] bool; other dimensions keep the interval -1..1
    centres: Tensor  # [255] float64

    def __init__(self, statistics: Mapping[str, Any], text_vocabulary: int, epsilon: float) -> None:
        """Takes the `action` part of the statistics.

        Args:
            text_vocabulary: number of tokens with a meaning; the last 256 are actions.
            epsilon: added to the span q99 - q01, as the original of the model does.
        """
        super().__init__()
        action = statistics["action"]
        self.first = text_vocabulary - ACTION_BINS  # the lowest action token
        self.epsilon = epsilon
        unknown = [np.nan] * len(action["q01"])
        rows = np.array([action.get(name, unknown) for name in ROWS], np.float64)
        scaled = np.asarray(action.get("mask", [True] * rows.shape[1]), bool)
        self.register_buffer("numbers", torch.from_numpy(rows))
        self.register_buffer("scaled", torch.from_numpy(scaled), persistent=False)
        self.register_buffer("centres", torch.from_numpy(_CENTRES), persistent=False)

    @property
    def low(self) -> Tensor:
        """[A] float64, 1 % quantile."""
        return self.numbers[0]

    @property
    def high(self) -> Tensor:
        """[A] float64, 99 % quantile."""
        return self.numbers[1]

    @property
    def tokens(self) -> slice:
        """Rows of the vocabulary that are actions."""
        return slice(self.first, self.first + ACTION_BINS)

    def take(self, statistics: ActionStatistics) -> None:
        """Scales as another data set needs it from now on."""
        s = statistics
        rows = np.stack([s.q01, s.q99, s.minimum, s.maximum, s.mean, s.std])
        self.numbers.copy_(torch.from_numpy(rows))

    def describe(self) -> dict[str, list[float] | list[bool]]:
        """The `action` part of the statistics."""
        rows = zip(ROWS, self.numbers, strict=True)
        known = {name: row.tolist() for name, row in rows if bool(row.isfinite().all())}
        return {"mask": self.scaled.tolist(), **known}

    def decode(self, tokens: Tensor) -> Tensor:
        """Actions [..., A] float32 in the data set's units of token ids [..., A]."""
        index = (self.first + ACTION_BINS - 1 - tokens).clamp(0, len(self.centres) - 1)
        centre = self.centres[index]
        span = self.high - self.low + self.epsilon
        return torch.where(self.scaled, 0.5 * (centre + 1) * span + self.low, centre).float()

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Token ids [..., A] int64 of actions [..., A] in the data set's units.

        As the originals label their data: in float32, with 1e-8 added to every span, and a scaled
        dimension that never changes (min = max) is 0 before it becomes a token. One that is not
        scaled keeps its value, since that is what decodes to the demonstrated action.
        """
        numbers, scaled = self.numbers.cpu().numpy(), self.scaled.cpu().numpy()
        low, high, least, most = numbers[:4]
        span = (high - low + 1e-8).astype(np.float32)
        actions = actions.astype(np.float32)
        unit = np.where(scaled, 2 * (actions - low.astype(np.float32)) / span - 1, actions)
        unit = np.where(scaled & (least == most), 0.0, unit)
        bins = np.digitize(np.clip(unit, -1.0, 1.0), _EDGES)
        return self.first + ACTION_BINS - bins
