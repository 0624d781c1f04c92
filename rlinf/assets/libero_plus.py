"""Assets of LIBERO-Plus: LIBERO's, and the objects, tables, walls and lights that it adds.

They lie in `$LIBERO_PLUS_ASSETS`; without it in `~/.cache/libero_plus/assets`.
"""

from __future__ import annotations

import os
from pathlib import Path

from rlinf.assets.base import Archive, Asset
from rlinf.assets.libero import SOME

GROUP = "libero_plus"
VARIABLE = "LIBERO_PLUS_ASSETS"

_ADDED = (  # one of each kind
    "new_objects/alarm_clock/cvknrh/usd/MJCF/cvknrh.xml",
    "scenes/tabletop_light_sync_modified_0.xml",
    "scenes/tabletop_table_Tiles01_COL_VAR1_6K.xml",
)
# The archive has the folders of the machine that it was made on.
_INSIDE = (
    "inspire/hdd/project/embodied-multimodality/public/syfei/libero_new/release/dataset/"
    "LIBERO-plus-0/assets"
)


def assets() -> list[Asset]:
    """Everything that `rlinf assets download libero_plus` fetches."""
    named = os.environ.get(VARIABLE)
    folder = Path(named or "~/.cache/libero_plus/assets").expanduser()
    source = Archive(
        "https://huggingface.co/datasets/Sylvest/LIBERO-plus/resolve/main/assets.zip",
        inside=_INSIDE,
    )
    names = (*SOME, *_ADDED)
    return [Asset("LIBERO-Plus's assets", folder, source, lambda at: [(at / x,) for x in names])]
