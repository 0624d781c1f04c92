"""A tiny model folder in the layout of GR00T-N1.5, with random weights: no recorded set needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rlinf.models.files import write_tensors
from rlinf.models.gr00t import folder as folders
from rlinf.models.gr00t import random_weights
from rlinf.models.gr00t.network import Gr00t
from rlinf.models.gr00t.random_weights import TAGS, metadata

__all__ = ["SIDE", "TAGS", "metadata", "write_embodiment", "write_folder"]
SIDE = random_weights.SIZES["tiny"].vision[-1]


def write_embodiment(path: Path, state: int) -> Path:
    """A file that describes an embodiment with one view, whose statistics have the tag `mine`."""
    path.write_text(
        f"tag: mine\nslot: 2\nviews: [main]\nreads: {{joints: {state}}}\n"
        "state: {robot: joints}\naction: [arm]\n"
    )
    return path


def write_folder(folder: Path, tags: dict[str, Any] = TAGS) -> Path:
    """A model, and its processor in a sub-folder.

    Args:
        tags: what metadata.json holds.
    """
    random_weights.write_folder(folder, tags=tags)
    torch.manual_seed(3)
    network = Gr00t(folders.read(folder, None))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0.0, 0.2)
    published = {
        name.replace("eagle_model.vision_model.", "eagle_model.vision_model.vision_model."): tensor
        for name, tensor in network.state_dict().items()
    }
    write_tensors(published, folder / "model.safetensors")
    return folder
