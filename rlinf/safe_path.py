"""Modules come from where Python and this project are installed, never from the working folder.

A `numpy.py`, or another clone's `rlinf/`, in the folder that a run is started in would otherwise
run in place of the installed one; and a folder that others may write to would run their code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SAFE = {"PYTHONSAFEPATH": "1"}
"""Environment variable of a Python process that leaves out the folder it is started in, also where
it is started with `-c` or `-m`. What it starts inherits it."""


def leave_out_working_folder() -> None:
    """For this process and all that it starts."""
    cleaned = without_working_folder(os.environ)
    if cleaned.get("PYTHONPATH", "") != os.environ.get("PYTHONPATH", ""):
        here = str(Path.cwd())
        sys.path[:] = [entry for entry in sys.path if entry not in ("", here)]
    os.environ.update(cleaned)


def without_working_folder(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables of a process that does not import from its working folder.

    An empty entry of PYTHONPATH stands for that folder, and is there by accident as a rule:
    `PYTHONPATH=$PYTHONPATH:/somewhere` where the variable was not set.
    """
    cleaned = {**environment, **SAFE}
    if "PYTHONPATH" in environment:
        entries = environment["PYTHONPATH"].split(os.pathsep)
        cleaned["PYTHONPATH"] = os.pathsep.join(filter(None, entries))
    return cleaned
