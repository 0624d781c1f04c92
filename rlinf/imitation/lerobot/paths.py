"""Files of a data set: no name, template or link in it leads out of its folder.

Data sets are fetched from strangers. What their metadata name is read only where it lies inside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Formatter

from rlinf.errors import UserError

_NUMBER_FORMAT = re.compile(r"(0?\d{1,2}d?|d)?")
_FOR_LINKS = (
    "put the files themselves into the folder; a link to another disk is allowed for the folder "
    "as a whole"
)


def refusal(
    root: Path, what: str, fix: str = "take the data set from a source you trust"
) -> UserError:
    """What is wrong with the data set in a folder."""
    return UserError(f"imitation.data = {root}: {what}", fix)


class DataSetFolder:
    """The folder of a data set. It may be a link itself, or a snapshot in the hub's cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        real = root.resolve()
        self._real = [real]
        if real.parent.name == "snapshots":  # whose files are links to these
            self._real.append(real.parents[1] / "blobs")
        self._known: dict[str, Path] = {}

    def file(self, name: str) -> Path:
        """The path of a file of the data set, which may be missing.

        Raises:
            UserError: it lies elsewhere, or is no plain file.
        """
        if name not in self._known:
            self._known[name] = self._find(name)
        return self._known[name]

    def fill_in(self, template: str, values: Mapping[str, int | str]) -> Path:
        """The file of a template such as `data/chunk-{chunk_index:03d}.parquet`, filled in.

        Raises:
            UserError: it lies elsewhere, or asks for more than these values.
        """
        try:
            fields = list(Formatter().parse(template))
        except ValueError as error:
            raise refusal(self.root, f"{template!r} is no path ({error})") from error
        for _, name, form, conversion in fields:
            known = name is None or (name in values and not conversion)
            if not known or not _NUMBER_FORMAT.fullmatch(form or ""):
                raise refusal(self.root, f"{template!r} is no path: it asks for {{{name}}}")
        return self.file(template.format(**values))

    def _find(self, name: str) -> Path:
        if "\0" in name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise refusal(self.root, f"it names {name!r}, a file outside its folder")
        path = self.root / name
        real = path.resolve()
        if not any(real.is_relative_to(folder) for folder in self._real):
            raise refusal(self.root, f"{name} is a link to {real}, outside its folder", _FOR_LINKS)
        if path.exists() and not path.is_file():
            raise refusal(self.root, f"{name} is no plain file")
        return path
