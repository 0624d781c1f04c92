"""How a part of the package is installed: by the installer of a clone, or with pip."""

from __future__ import annotations

from pathlib import Path

DISTRIBUTION = "rlinf-embodied"
SCRIPT = Path(__file__).parents[1] / "requirements" / "install.sh"
"""The installer, where the package is used from a clone; a wheel has none."""


def command(options: str = "", extra: str | None = None) -> str:
    """What a user types to install something, as it ends up in messages.

    Args:
        options: of `requirements/install.sh`.
        extra: of `pyproject.toml`, with the same packages; None: only a clone can install it.
    """
    line = f"bash requirements/install.sh {options}".rstrip()
    if SCRIPT.is_file():
        return line
    if extra is None:
        return f"{line} (in a clone of the repository)"
    return f'pip install "{DISTRIBUTION}[{extra}]"'
