"""Tasks of the suites: instruction, problem file and recorded start states."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct

from rlinf import installer
from rlinf.envs.libero.config import TRIALS, LiberoParams
from rlinf.envs.libero.package import package_folder
from rlinf.errors import UserError

_ARRAYS: list[Any] = [
    (_reconstruct, "numpy.core.multiarray._reconstruct"),  # its name when the files were written
    np.ndarray,
    np.dtype,
    type(np.dtype(np.float64)),
]
"""All that a pickled array consists of."""


@dataclass(frozen=True, slots=True)
class SuiteTask:
    """One task of a suite."""

    suite: str
    instruction: str  # from the task's name; the sentence inside the problem file often differs
    problem: Path  # BDDL file: scene, objects and goal
    states: Path  # file of the recorded start states

    def init_states(self) -> np.ndarray:
        """[50, 1 + nq + nv] float64: time, joint positions and velocities of MuJoCo."""
        try:
            with torch.serialization.safe_globals(_ARRAYS):
                states = np.asarray(torch.load(self.states, weights_only=True))
        except (UnpicklingError, OSError, RuntimeError, EOFError) as error:
            raise UserError(
                f"{self.states} holds more than numbers, or is damaged; it was not loaded",
                f"install hf-libero again: {installer.command('embodied --env libero', 'libero')}",
            ) from error
        if len(states) != TRIALS:
            raise UserError(
                f"{self.states} has {len(states)} start states instead of {TRIALS}",
                "install the version of hf-libero that pyproject.toml names",
            )
        return states


def tasks_of(params: LiberoParams) -> tuple[SuiteTask, ...]:
    """The chosen tasks of a suite, in the package's order. LIBERO must have been prepared."""
    from libero.libero.benchmark import task_maps

    root, suites = package_folder(), params.suites()
    found = []
    for index in params.chosen():
        suite = suites[index]
        listed = list(task_maps[suite].values())[index - suites.index(suite)]
        found.append(
            SuiteTask(
                suite=suite,
                instruction=listed.language,
                problem=root / "bddl_files" / listed.problem_folder / listed.bddl_file,
                states=root / "init_files" / listed.problem_folder / listed.init_states_file,
            )
        )
    return tuple(found)
