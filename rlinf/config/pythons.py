"""Where the Python of a simulator that needs one of its own is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rlinf import installer
from rlinf.errors import UserError
from rlinf.registry import Hosting, OwnPython, SimulatorSpec


def default(own: OwnPython) -> Path:
    """The Python of the environment that the installer makes beside ours."""
    return Path(f"{sys.prefix}-{own.name}", "bin", own.executable)


def chosen(own: OwnPython, given: str | None) -> tuple[Path, str]:
    """The simulator's Python, and what named it.

    Args:
        own: of the simulator's spec.
        given: `env.*.python`.
    """
    if given is not None:
        return Path(given).expanduser(), "env.*.python"
    named = os.environ.get(own.variable)
    if named:
        return Path(named).expanduser(), own.variable
    return default(own), installer.command(f"--env {own.name}").removeprefix("bash ")


def fix(own: OwnPython) -> str:
    """What to do where the simulator's Python is missing."""
    then = f", then {own.remains}" if own.remains else ""
    return (
        f"run: {installer.command(f'--env {own.name}')}{then}; or name a Python {own.version} "
        f"that has {own.package} in env.*.python or in {own.variable}"
    )


_ASK = """
import importlib.metadata, json, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
names = json.loads(sys.argv[1])
print(json.dumps(["{}.{}.{}".format(*sys.version_info), {name: version(name) for name in names}]))
"""


def ask(own: OwnPython, python: Path, names: Sequence[str]) -> tuple[str, dict[str, str | None]]:
    """The version of a Python, and those of packages there; None: not installed.

    Args:
        own: of the simulator that needs it.
        python: the executable.
        names: of packages.

    Raises:
        UserError: it does not start.
    """
    asked = subprocess.run(
        [python, "-c", _ASK, json.dumps(names)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        words = asked.stderr.strip().splitlines() or ["no message"]
        raise UserError(f"{python} does not start: {words[-1]}", fix(own))
    version, packages = json.loads(asked.stdout)
    return version, packages


def hosting(spec: SimulatorSpec, given: str | None) -> Hosting:
    """How the sub-processes of a simulator are started, under which Python."""
    usual = spec.hosting
    if spec.python is not None:
        python, _ = chosen(spec.python, given)
        return replace(usual, interpreter=str(python), interpreter_fix=fix(spec.python))
    if given is None:
        return usual
    return replace(usual, interpreter=str(Path(given).expanduser()))
