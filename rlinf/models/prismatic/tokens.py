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
from torch import Tensor

from rlinf.config.model_folder import ACTION_BINS
from rlinf.errors import UserError

BEGIN, END = 1, 2  # <s>, </s>
WORD_BOUNDARY = 29871  # the token after "Out:", from which the first action token is predicted
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

        Shorter rows are padded behind `<s>`, so that all prompts end in the same column.
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


class ActionScale:
    """From action tokens to the simulator's units and back, by the statistics of a data set."""

    def __init__(self, statistics: Mapping[str, Any], text_vocabulary: int, epsilon: float) -> None:
        """Takes the `action` part of the statistics.

        Args:
            text_vocabulary: number of tokens with a meaning; the last 256 are actions.
            epsilon: added to the span q99 - q01, as the original of the model does.
        """
        action = statistics["action"]
        self.low = np.asarray(action["q01"], np.float64)
        self.high = np.asarray(action["q99"], np.float64)
        self.scaled = np.asarray(action.get("mask", [True] * len(self.low)), bool)
        self.first = text_vocabulary - ACTION_BINS  # the lowest action token
        self.epsilon = epsilon

    @property
    def tokens(self) -> slice:
        """Rows of the vocabulary that are actions."""
        return slice(self.first, self.first + ACTION_BINS)

    def table(self) -> np.ndarray:
        """[A, 256] float64: value of each dimension for each action token, lowest id first."""
        ids = np.arange(ACTION_BINS)
        centres = _CENTRES[np.clip(ACTION_BINS - ids - 1, 0, len(_CENTRES) - 1)]
        span = (self.high - self.low + self.epsilon)[:, None]
        scaled = 0.5 * (centres + 1) * span + self.low[:, None]
        return np.where(self.scaled[:, None], scaled, centres)

    def encode(self, actions: np.ndarray) -> np.ndarray:
        """Token ids [..., A] int64 of actions [..., A] in the simulator's units."""
        span = np.maximum(self.high - self.low, 1e-8)
        unit = np.where(self.scaled, 2 * (actions - self.low) / span - 1, actions)
        bins = np.digitize(np.clip(unit, -1.0, 1.0), _EDGES)
        return self.first + ACTION_BINS - bins
