"""Assets of the ManiSkill tasks that use a WidowX robot and photos of real tables.

`MS_ASSET_DIR` moves what ManiSkill itself looks for (its own variable), `MANISKILL_ASSET_DIR` the
objects of PutOnPlateInScene25; without them they lie in `~/.maniskill` and in this package.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from rlinf.assets.base import Archive, Asset, HubDataSet

GROUP = "maniskill"

_OF_THE_BRIDGE_SCENES = (
    "PutCarrotOnPlateInScene-v1",
    "PutSpoonOnTableClothInScene-v1",
    "StackGreenCubeOnYellowCubeBakedTexInScene-v1",
    "PutEggplantInBasketScene-v1",
)
PLATE_PREFIX = "PutOnPlateInScene25"
_TABLE = "stages/bridge_table_1_v1.glb"


def assets() -> list[Asset]:
    """Everything that `rlinf assets download maniskill` fetches."""
    return [robot(), bridge_scenes(), plate_objects()]


def needed_by(task: str) -> list[Asset]:
    """What a registered ManiSkill task needs of `assets`; nothing for the stock tabletop tasks."""
    if task.startswith(PLATE_PREFIX):
        return [robot(), _scenes((_TABLE,)), plate_objects()]
    if task in _OF_THE_BRIDGE_SCENES:
        return [robot(), bridge_scenes()]
    return []


def robot() -> Asset:
    """The WidowX 250 S arm."""
    url = "https://github.com/haosulab/ManiSkill-WidowX250S/archive/refs/tags/v0.2.0.zip"
    return Asset("WidowX robot", _data() / "robots/widowx", Archive(url), _robot_files)


def bridge_scenes() -> Asset:
    """Tables, objects and photos of ManiSkill's own Bridge tasks."""
    return _scenes(
        (
            _TABLE,
            "custom/info_bridge_custom_v0.json",
            "real_inpainting/bridge_real_eval_1.png",
        )
    )


def table_model() -> Path:
    """The model of the table itself."""
    return bridge_scenes().folder / _TABLE


def _scenes(names: tuple[str, ...]) -> Asset:
    return Asset(
        "Bridge scenes",
        _data() / "tasks/bridge_v2_real2sim_dataset",
        Archive(
            "https://huggingface.co/datasets/haosulab/ManiSkill_bridge_v2_real2sim/resolve/main/"
            "bridge_v2_real2sim_dataset.zip",
            "618512a205b4528cafecdad14b1788ed1130879f3064deb406516ed5b9c5ba92",
        ),
        lambda folder: [(folder / name,) for name in names],
    )


def plate_objects() -> Asset:
    """The 25 objects, 17 plates and 21 tables of PutOnPlateInScene25."""
    root = os.environ.get("MANISKILL_ASSET_DIR")
    own = Path(__file__).parents[1] / "envs/maniskill/assets"
    folder = (Path(root).expanduser() if root else own) / "carrot"
    source = HubDataSet("RLinf/maniskill_assets", "carrot")
    return Asset("objects, plates and tables", folder, source, _plate_files)


def _data() -> Path:
    """Where ManiSkill looks, as in `mani_skill.ASSET_DIR`."""
    return Path(os.environ.get("MS_ASSET_DIR") or Path.home() / ".maniskill") / "data"


def _robot_files(folder: Path) -> Iterator[tuple[Path, ...]]:
    model = folder / "wx250s.urdf"
    yield (model,)
    yield (folder / "wx250s.srdf",)
    if model.is_file():
        for name in sorted(set(re.findall(r'filename="([^"]+)"', model.read_text()))):
            yield (folder / name,)


def _plate_files(folder: Path) -> Iterable[tuple[Path, ...]]:
    for part in ("more_carrot", "more_plate", "more_table"):
        index = folder / part / "model_db.json"
        yield (index,)
        if not index.is_file():
            continue
        for key, entry in json.loads(index.read_text()).items():
            if part == "more_table":
                yield (folder / part / "imgs" / key,)
                yield (folder / part / "textures" / entry["texture"],)
            else:
                yield (folder / part / key / "collision.obj",)
                yield visuals(folder / part / key)


def visuals(model: Path) -> tuple[Path, ...]:
    """The file that draws a model is the first of these that exists."""
    return tuple(model / f"textured.{kind}" for kind in ("obj", "dae", "glb"))
