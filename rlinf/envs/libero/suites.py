"""Tasks of the suites: instruction, problem file and recorded start states."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlinf.envs.libero.config import TRIALS, SuiteParams
from rlinf.envs.libero.package import package_folder
from rlinf.envs.libero.states import read_states
from rlinf.errors import UserError

REWORDED = ("_lan", "_task")
"""Suites of LIBERO-Pro whose instruction is another than that of the task they are made from."""


@dataclass(frozen=True, slots=True)
class SuiteTask:
    """One task of a suite."""

    suite: str
    # From the task's name, as published policies are prompted; the sentence inside the problem file
    # often differs, and is taken where a suite is about the words.
    instruction: str
    problem: Path  # BDDL file: scene, objects and goal
    states: Path  # file of the recorded start states
    recorded: int = TRIALS  # how many there are
    module: str = "libero.libero"  # code that builds it
    noise: int = 0  # number of LIBERO-Plus's distortion of the pictures; 0: none

    def init_states(self) -> np.ndarray:
        """[n, 1 + nq + nv] float64: time, joint positions and velocities of MuJoCo."""
        states = np.atleast_2d(read_states(self.states))
        if len(states) != self.recorded:
            raise UserError(
                f"{self.states} has {len(states)} start states instead of {self.recorded}",
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
