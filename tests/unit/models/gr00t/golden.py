"""Recorded results of the original GR00T-N1.5: sets of files under RLINF_GOLDEN."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlinf.models.gr00t import folder as folders
from rlinf.models.gr00t import network
from rlinf.models.gr00t.folder import Gr00tFolder
from rlinf.models.gr00t.network import Gr00t
from tests.golden import ROOT


@dataclass(frozen=True)
class Gr00tSet:
    """One set; every size and name is read from its files."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint"

    @property
    def processor(self) -> Path:
        return self.path / "eagle_processor"

    @cached_property
    def folder(self) -> Gr00tFolder:
        return folders.read(self.checkpoint, self.processor)

    def has(self, name: str) -> bool:
        return (self.path / "golden" / f"{name}.npz").is_file()

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        with np.load(self.path / "golden" / f"{name}.npz") as file:
            return dict(file)

    def json(self, name: str) -> Any:
        return json.loads((self.path / "golden" / f"{name}.json").read_text())

    def inputs(self, case: str) -> dict[str, np.ndarray]:
        """Of a sampling case; the padded one adds ids and mask to those of the batch."""
        if case == "single":
            return self.arrays("inputs_single")
        own = self.arrays("inputs_batch3_rightpad") if case == "batch3_rightpad" else {}
        return self.arrays("inputs_batch3") | own

    def __str__(self) -> str:
        return self.path.name


@cache
def network_of(golden: Gr00tSet) -> Gr00t:
    """With the weights of the set; shared by tests, which leave it as it is."""
    found = Gr00t(golden.folder)
    found.load_state_dict(network.read(golden.folder, found.state_dict(), torch.float32)[0])
    return found.eval()


def sets() -> list[Any]:
    """All sets, as pytest parameters; one skipped where there are none."""
    found = sorted(path.parent.parent for path in ROOT.glob("*/golden/rl_eval_ode.npz"))
    none = pytest.param(None, marks=pytest.mark.skip(reason=f"no recorded set of GR00T in {ROOT}"))
    return [pytest.param(Gr00tSet(path), id=path.name) for path in found] or [none]
