"""Recorded results of the original models: sets of files under RLINF_GOLDEN."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from rlinf.data.types import Observation

ROOT = Path(os.environ.get("RLINF_GOLDEN", "../shared/golden"))
_NO_SETS = pytest.param(None, marks=pytest.mark.skip(reason=f"no such recorded set in {ROOT}"))


@dataclass(frozen=True)
class GoldenSet:
    """One set; every size, name and number is read from its files."""

    path: Path

    @cached_property
    def meta(self) -> dict[str, Any]:
        return json.loads((self.path / "meta.json").read_text())

    @cached_property
    def settings(self) -> dict[str, Any]:
        return json.loads((self.checkpoint / "config.json").read_text())

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint"

    @property
    def samples(self) -> range:
        return range(len(self.meta["tasks"]))

    def arrays(self, name: str) -> Any:
        return np.load(self.path / name)

    def value_head(self) -> tuple[dict[str, torch.Tensor], str]:
        """Weights of the critic, and the `value_type` that gives one of this width."""
        state = load_file(self.path / "value_head.safetensors")
        return state, "chunk" if len(state["value_head.mlp.4.weight"]) == 1 else "action"

    def picture(self, name: str) -> np.ndarray:
        """[H, W, 3] uint8."""
        return np.array(Image.open(self.path / name).convert("RGB"))

    def __str__(self) -> str:
        return self.path.name


def drawn_at(names: Iterable[str], prefix: str) -> tuple[str, float]:
    """Name of the array `prefix`_T<temperature>, and the temperature."""
    (name,) = [name for name in names if name.startswith(f"{prefix}_T")]
    return name, float(name.rpartition("_T")[2])


def is_clear(logits: np.ndarray, tolerance: float) -> np.ndarray:
    """Of logits [..., K], where the best two are further apart than rounding may bring them."""
    best = np.sort(logits, axis=-1)[..., -2:]
    return best[..., 1] - best[..., 0] > tolerance


def best_tokens(logits: np.ndarray, first: int) -> np.ndarray:
    """Best action token of each row of logits [..., 256] whose first column is token `first`.

    The originals take the best of the whole vocabulary. Random weights may prefer another token
    there, which says nothing of the action tokens.
    """
    return logits.argmax(axis=-1) + first


def sets_with(file: str) -> list[Any]:
    """All sets that have this file, as pytest parameters; one skipped where there are none."""
    found = sorted(path.parent for path in ROOT.glob(f"*/{file}")) if ROOT.is_dir() else []
    return [pytest.param(GoldenSet(path), id=path.name) for path in found] or [_NO_SETS]


def observe(images: np.ndarray, tasks: list[str]) -> Observation:
    """Images [B, H, W, 3] or [B, V, H, W, 3] uint8 and their instructions."""
    views = images if images.ndim == 5 else images[:, None]
    return Observation(views, np.zeros((len(tasks), 0), np.float32), tuple(tasks))


def largest_difference(ours: torch.Tensor | np.ndarray, theirs: np.ndarray) -> float:
    """Over all entries, which must be equally many."""
    mine = ours.detach().float().numpy() if isinstance(ours, torch.Tensor) else ours
    return float(np.abs(mine.reshape(theirs.shape).astype(np.float64) - theirs).max())
