"""The data sets of BEHAVIOR, for `rlinf assets download behavior`.

OmniGibson's own functions fetch them, in the simulator's Python; there is no other source.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rlinf.assets.base import Asset, Program
from rlinf.config import pythons
from rlinf.envs.behavior.data import DATA, DOWNLOADS, KEY, Download, first_file, folder
from rlinf.envs.behavior.spec import OWN_PYTHON
from rlinf.errors import UserError

LICENCE = "the BEHAVIOR Data Bundle End User License Agreement (behavior.stanford.edu)"


def assets() -> list[Asset]:
    """The three downloads.

    Raises:
        UserError: it is not said where to.
    """
    root = folder()
    if root is None:
        raise UserError(f"{DATA} is not set", f"export {DATA}=FOLDER with more than 30 GB free")
    python, _ = pythons.chosen(OWN_PYTHON, None)
    fix = pythons.fix(OWN_PYTHON)
    return [_asset(each, root, str(python), fix) for each in DOWNLOADS]


def _asset(download: Download, root: Path, python: str, fix: str) -> Asset:
    code = (
        f"from omnigibson.utils.asset_utils import {download.function}; "
        f"{download.function}({download.arguments})"
    )

    def files(place: Path) -> Iterator[tuple[Path, ...]]:
        yield (first_file(place),)
        if download.licensed:
            yield (place.parent / KEY,)

    program = Program((python, "-c", code), fix, LICENCE if download.licensed else "")
    return Asset(download.title, root / download.folder, program, files)
