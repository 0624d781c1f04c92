"""A simulator for another Python: it needs NumPy alone, and reports where it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

from rlinf.envs.base import StepResult
from rlinf.envs.failures import RowFailed
from rlinf.envs.toy.reach import ToyReach
from rlinf.errors import UserError


class Guest(ToyReach):
    """Tells about its process, starts another one, lacks a package, or fails at its first step."""

    def __init__(self, num_envs: int, ends_by: str, helper: str = "") -> None:
        super().__init__(num_envs, obs_dim=4, action_dim=2)
        self._fails = ends_by == "failure"
        if ends_by == "import":
            import_module("rlinf_no_such_simulator")
        if ends_by == "telling":
            told = {
                "version": "{}.{}".format(*sys.version_info),
                "variable": os.environ["GUEST"],
                "loaded": sorted(sys.modules),
                "path": sys.path,
            }
            raise UserError(json.dumps(told))
        if helper:
            started = subprocess.Popen(["sleep", "600"])
            with Path(helper).open("a") as pids:
                pids.write(f"{started.pid}\n")

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        if self._fails:
            raise RowFailed(0) from ArithmeticError("no contact")
        return super().step(actions, active)
