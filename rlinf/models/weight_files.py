"""The weight files of a model folder, looked at without reading a single weight."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from rlinf.errors import UserError

NAMES = ("model.safetensors", "pytorch_model.bin")
COPY_AGAIN = "copy or download the model folder again"


def weight_files(folder: Path) -> list[Path]:
    """The files with weights, whole or in shards, all of which exist.

    Raises:
        UserError: if there are none, or shards are missing.
    """
    for name in NAMES:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            except (ValueError, KeyError, AttributeError, TypeError) as error:
                raise UserError(f"{index} is damaged: {error}", COPY_AGAIN) from error
            if not all(isinstance(file, str) and Path(file).name == file for file in files):
                raise UserError(f"{index} names files outside its folder", COPY_AGAIN)
            missing = [file for file in files if not (folder / file).is_file()]
            if missing:
                raise UserError(f"{folder} lacks {', '.join(missing)} of {index.name}", COPY_AGAIN)
            return [folder / file for file in files]
    raise UserError(
        f"{folder} holds no weights: there is none of {', '.join(NAMES)}, nor an index of shards",
        "name a model folder; rlinf download NAME fetches one",
    )


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Names, shapes and places of a safetensors file's tensors; places count from the byte given.

    Raises:
        UserError: if the file is not complete.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        try:
            header = json.loads(file.read(length)) if 8 + length <= size else None
        except ValueError:
            header = None
    if header is None:
        raise UserError(f"{path} is truncated or no safetensors file", COPY_AGAIN)
    header.pop("__metadata__", None)
    whole = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if size < whole:
        raise UserError(f"{path} is truncated: {size:,} of {whole:,} bytes", COPY_AGAIN)
    return header, 8 + length
