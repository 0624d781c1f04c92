"""Tasks of the suites: instruction, problem file and recorded start states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

from rlinf import installer
from rlinf.envs.libero.config import TRIALS, SuiteParams
from rlinf.envs.libero.package import package_folder
from rlinf.errors import UserError

REWORDED = ("_lan", "_task")
"""Suites of LIBERO-Pro whose instruction is another than that of the task they are made from."""

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
    # From the task's name, as published policies are prompted; the sentence inside the problem file
    # often differs, and is taken where a suite is about the words.
    instruction: str
    problem: Path  # BDDL file: scene, objects and goal
    states: Path  # file of the recorded start states

    def init_states(self) -> np.ndarray:
        """[50, 1 + nq + nv] float64: time, joint positions and velocities of MuJoCo."""
        if self.states.suffix == ".npz":
            with np.load(self.states, allow_pickle=False) as file:
                return self._checked(file["states"])
        import torch  # LIBERO-Pro's Python has none

        try:
            with torch.serialization.safe_globals(_ARRAYS):
                states = np.asarray(torch.load(self.states, weights_only=True))
        except (UnpicklingError, OSError, RuntimeError, EOFError) as error:
            raise UserError(
                f"{self.states} holds more than numbers, or is damaged; it was not loaded",
                f"install hf-libero again: {installer.command('embodied --env libero', 'libero')}",
            ) from error
        return self._checked(states)

    def _checked(self, states: np.ndarray) -> np.ndarray:
        if len(states) != TRIALS:
            raise UserError(
                f"{self.states} has {len(states)} start states instead of {TRIALS}",
                "install the version of LIBERO's package that RLinf names",
            )
        return states


def tasks_of(params: SuiteParams) -> tuple[SuiteTask, ...]:
    """The chosen tasks of a suite, in the package's order. LIBERO must have been prepared."""
    from libero.libero.benchmark import task_maps

    root, suites = package_folder(), params.suites()
    found = []
    for index in params.chosen():
        suite = suites[index]
        listed = list(task_maps[suite].values())[index - suites.index(suite)]
        problem = root / "bddl_files" / listed.problem_folder / listed.bddl_file
        states = root / "init_files" / listed.problem_folder / listed.init_states_file
        arrays = states.with_name(f"{states.name}.npz")
        reworded = suite.endswith(REWORDED)
        found.append(
            SuiteTask(
                suite=suite,
                instruction=instruction_in(problem) if reworded else listed.language,
                problem=problem,
                states=arrays if arrays.is_file() else states,
            )
        )
    return tuple(found)


def instruction_in(problem: Path) -> str:
    """The sentence inside a BDDL file."""
    found = re.search(r"\(:language\s+([^()]*)\)", problem.read_text(encoding="utf-8"))
    assert found is not None, f"{problem} has no instruction"
    return " ".join(found[1].split())
