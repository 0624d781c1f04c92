"""Data files for tests: where they are, and a place to unpack them once.

`RLINF_ASSETS` names the folder of the archives, `RLINF_GOLDEN` that of recorded results.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ARCHIVES = Path(os.environ.get("RLINF_ASSETS", ROOT.parent / "shared/assets"))
GOLDEN = Path(os.environ.get("RLINF_GOLDEN", ROOT.parent / "shared/golden"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rlinf/test-assets"


def unpacked(name: str) -> Path | None:
    """The folder with the content of an archive, unpacked when it is first asked for.

    None where there is no such archive.
    """
    archive = ARCHIVES / name
    if not archive.is_file():
        return None
    folder = CACHE / f"{name.partition('.')[0]}-{archive.stat().st_size}"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=CACHE))
        with tarfile.open(archive) as files:
            files.extractall(scratch, filter="data")
        try:
            scratch.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(scratch)
    return folder
