"""Packages of the Python that a simulator has for itself."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from rlinf import installer
from rlinf.errors import UserError


def version_of(package: str, name: str, environment: str) -> str:
    """Version of a simulator's package in this Python.

    Args:
        package: of the simulator.
        name: for people.
        environment: `requirements/install.sh --env` makes it.

    Raises:
        UserError: it is not installed.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        raise UserError(
            f"the simulator's Python has no {name}",
            f"run: {installer.command(f'--env {environment}')}; or name a Python that has it "
            "in env.*.python",
        ) from None
