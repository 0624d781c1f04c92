"""What an asset is: a folder, the files it must have, and the official source of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from rlinf.errors import UserError


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip file whose only top folder becomes the asset's folder, or the one that is named."""

    url: str
    sha256: str | None = None  # None where the source publishes none
    inside: str = ""  # the folder in the file, where it is not the top one


@dataclass(frozen=True, slots=True)
class HubDataSet:
    """A data set on Hugging Face, or a folder of one."""

    repo: str  # owner/name
    inside: str = ""  # the folder in the data set that becomes the asset's folder


@dataclass(frozen=True, slots=True)
class Program:
    """A command of the simulator's own that fills the asset's folder."""

    command: tuple[str, ...]
    fix: str  # what to do where there is no such command
    licence: str = ""  # what has to be accepted before; empty: nothing


@dataclass(frozen=True, slots=True)
class Asset:
    """One folder of files."""

    name: str  # what it is, for people
    folder: Path
    source: Archive | HubDataSet | Program
    # From the folder to the files that a run opens; each entry lists alternatives. It may depend
    # on what is there: an index that is missing is named before what it lists.
    files: Callable[[Path], Iterable[tuple[Path, ...]]]

    def missing(self) -> list[Path]:
        """The files that are not there; of alternatives the first."""
        return [some[0] for some in self.files(self.folder) if not any(p.is_file() for p in some)]


def require(group: str, assets: Iterable[Asset], needed_by: str) -> None:
    """Raises UserError if files are missing.

    Args:
        group: what `rlinf assets download` calls them.
        assets: the assets that are needed.
        needed_by: what needs them, for the message.
    """
    problem = describe_missing(group, assets, needed_by)
    if problem is not None:
        raise UserError(*problem)


def describe_missing(group: str, assets: Iterable[Asset], needed_by: str) -> tuple[str, str] | None:
    """Message and fix for files that are missing; None if all are there."""
    lacking = [(asset, paths) for asset in assets if (paths := asset.missing())]
    if not lacking:
        return None
    parts = [f"{asset.name}: {_some(paths)}" for asset, paths in lacking]
    return (
        f"{needed_by}: files are missing\n    " + "\n    ".join(parts),
        f"rlinf assets download {group}",
    )


def _some(paths: list[Path]) -> str:
    rest = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{rest}"
