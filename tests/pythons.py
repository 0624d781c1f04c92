"""Environments of the other Pythons on this machine: a simulator may need one of its own.

python tests/pythons.py    # makes those that are missing; they hold NumPy alone
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.10", "3.12", "3.13")
_REPO = Path(__file__).parents[1]
_FOLDER = _REPO / ".tools/pythons"
_REQUIREMENTS = _REPO / "requirements/simulator-python.txt"
_BDDL = "bddl"  # of the oldest of them, with BEHAVIOR-1K's activities


def environment(version: str) -> Path:
    """The Python of the environment of one version, whether it exists or not."""
    return _FOLDER / version / "bin/python"


def available() -> dict[str, str]:
    """Version -> Python with NumPy: other versions that were made, or else another of ours."""
    made = {v: str(environment(v)) for v in VERSIONS if environment(v).exists()}
    return made or {"{}.{}".format(*sys.version_info): sys.executable}


def with_bddl() -> Path | None:
    """The Python that has the package bddl; None where it could not be made."""
    python = environment(_BDDL)
    return python if python.exists() else None


def main() -> None:
    """Makes the environment of each version that this machine has a Python of."""
    for version in VERSIONS:
        _make(version, version, "-r", str(_REQUIREMENTS))
    # Of what bddl lists, its activities need what is named there.
    _make(_BDDL, VERSIONS[0], "--no-deps", "-r", str(_REPO / "requirements/bddl.txt"))


def _make(name: str, version: str, *packages: str) -> None:
    python = next(_candidates(version), None)
    if python is None or environment(name).exists():
        return
    folder = _FOLDER / name
    building = folder.with_name(f".{name}")
    pip: list[str | Path] = [
        building / "bin/python",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
    ]
    try:
        subprocess.run([python, "-m", "venv", "--clear", building], check=True)
        subprocess.run([*pip, "--quiet", "--require-hashes", *packages], check=True)
    except subprocess.CalledProcessError as error:
        print(f"no environment {name} for the tests: {error}", file=sys.stderr)
        shutil.rmtree(building, ignore_errors=True)
    else:
        building.rename(folder)


def _candidates(version: str) -> Iterator[str]:
    """Interpreters of one version that start; a shim of pyenv may not."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    names = [shutil.which(f"python{version}")]
    names += map(str, sorted(root.glob(f"versions/{version}.*/bin/python")))
    for name in names:
        if name is not None:
            asked = subprocess.run([name, "-c", "import venv"], capture_output=True)
            if asked.returncode == 0:
                yield name


if __name__ == "__main__":
    main()
