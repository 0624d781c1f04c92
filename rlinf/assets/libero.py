"""Assets of LIBERO: scenes, objects and textures.

They lie in `$LIBERO_ASSETS`; without it in `~/.cache/libero/assets`, where the package itself would
put them.
"""

from __future__ import annotations

import os
from pathlib import Path

from rlinf.assets.base import Asset, HubDataSet

GROUP = "libero"
VARIABLE = "LIBERO_ASSETS"

_SCENES = ("floor", "kitchen_tabletop", "living_room_tabletop", "study", "tabletop")
SOME = (  # one file of every folder, and the scenes
    *(f"scenes/libero_{scene}_base_style.xml" for scene in _SCENES),
    "articulated_objects/flat_stove.xml",
    "stable_hope_objects/alphabet_soup/alphabet_soup.xml",
    "stable_scanned_objects/akita_black_bowl/akita_black_bowl.xml",
    "textures/light-gray-plaster.png",
    "turbosquid_objects/black_book/black_book.xml",
)
"""Files that tell whether everything is there."""


def assets() -> list[Asset]:
    """Everything that `rlinf assets download libero` fetches."""
    named = os.environ.get(VARIABLE)
    folder = Path(named or "~/.cache/libero/assets").expanduser()
    source = HubDataSet("lerobot/libero-assets")
    return [Asset("LIBERO's assets", folder, source, lambda at: [(at / name,) for name in SOME])]
