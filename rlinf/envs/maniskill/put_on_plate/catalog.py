"""The objects, plates and tables of the task family, as their index files list them.

The order in the files is the index that episode ids use, so it is kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rlinf.assets import maniskill
from rlinf.envs.maniskill.put_on_plate.cases import BACKGROUNDS, OBJECTS, PLATES
from rlinf.errors import UserError

PHOTO_SIZE = (480, 640)  # height, width of every photo and texture


@dataclass(frozen=True, slots=True)
class Model:
    """A thing that can be built: an object or a plate."""

    name: str  # as the instruction calls it
    folder: Path
    size: np.ndarray  # [3] float64, edges of the box around it in its own frame, m
    density: float  # kg / m3

    @property
    def visual(self) -> Path:
        """The file that draws it."""
        return next(file for file in maniskill.visuals(self.folder) if file.is_file())


@dataclass(frozen=True, slots=True)
class Table:
    """A photo of an empty table, and a texture that disturbs pictures."""

    photo: Path
    texture: Path
    mix: float  # factor on the texture's weight, 0 or 1


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything, by index."""

    objects: tuple[Model, ...]
    plates: tuple[Model, ...]
    tables: tuple[Table, ...]


def read() -> Catalog:
    """Reads the index files.

    Raises:
        UserError: they do not list the objects of the published task.
    """
    folder = maniskill.plate_objects().folder
    return Catalog(
        _models(folder / "more_carrot", OBJECTS),
        _models(folder / "more_plate", PLATES),
        tuple(
            Table(
                folder / "more_table/imgs" / key,
                folder / "more_table/textures" / entry["texture"],
                float(entry["mix"]),
            )
            for key, entry in _index(folder / "more_table", BACKGROUNDS).items()
        ),
    )


@cache
def picture(file: Path) -> np.ndarray:
    """[480, 640, 3] uint8 RGB; read once and shared, so not to be written to."""
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    if pixels.shape[:2] != PHOTO_SIZE:
        raise UserError(
            f"{file} has {pixels.shape[1]} x {pixels.shape[0]} pixels, the published one 640 x 480",
            f"rlinf assets download {maniskill.GROUP}",
        )
    pixels.setflags(write=False)
    return pixels


def _models(folder: Path, count: int) -> tuple[Model, ...]:
    return tuple(
        Model(
            entry["name"],
            folder / key,
            np.array(entry["bbox"]["max"]) - np.array(entry["bbox"]["min"]),
            float(entry["density"]),
        )
        for key, entry in _index(folder, count).items()
    )


def _index(folder: Path, count: int) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads((folder / "model_db.json").read_text())
    if len(entries) != count:
        raise UserError(
            f"{folder / 'model_db.json'} lists {len(entries)} things, the published task {count}",
            f"rlinf assets download {maniskill.GROUP}",
        )
    return entries
