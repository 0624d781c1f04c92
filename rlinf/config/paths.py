"""Paths in the configuration: what can be one, and what lies at one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

_LONGEST_NAME = 255  # bytes; of file systems in use


def expanded(text: str) -> Path:
    """The path with `~` replaced; unchanged where there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def exists(path: str) -> bool:
    """Whether something is there that may be looked at."""
    try:
        return expanded(path).exists()
    except OSError:  # a folder above it may not be entered
        return False


def _a_path(value: str) -> str:
    if not value.strip():
        raise ValueError("must name a file or folder; leave it out, or write null, for none")
    return _usable(value)


def _usable(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a character that no path can have")
    if any(len(part.encode()) > _LONGEST_NAME for part in Path(value).parts):
        raise ValueError(f"has a part of more than {_LONGEST_NAME} bytes")
    if value.startswith("~") and str(expanded(value)) == value:
        raise ValueError(f"there is no user {value.split('/')[0][1:]} on this machine")
    return value


PathText = Annotated[str, AfterValidator(_a_path)]
"""A path as it is written; relative to the folder that the run is started from."""
MaybePath = Annotated[str, AfterValidator(_usable)]
"""The same, where an empty one stands for a default."""
