"""The models that are checked: with random weights, since no check is about what they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np

from rlinf.config.base import Precision
from rlinf.data.types import Observation
from rlinf.models.base import Policy
from rlinf.models.gr00t import random_weights as gr00t
from rlinf.models.prismatic import random_weights as prismatic

ModelName = Literal["openvla", "openvla_oft", "gr00t"]
SizeName = Literal["tiny", "1b", "published"]
_INSTRUCTION = "put the carrot on the plate"
_PUBLISHED = {"openvla": "7b", "openvla_oft": "7b", "gr00t": "3b"}
_MIDDLE = {"openvla": "1b", "openvla_oft": "1b", "gr00t": "3b"}


def build(
    folder: Path,
    model: ModelName,
    size: SizeName,
    precision: Precision,
    device: str,
    **settings: Any,
) -> Policy:
    """A policy with random weights on a device.

    Args:
        folder: for its files.
        settings: of its configuration.
    """
    named = {"published": _PUBLISHED, "1b": _MIDDLE}
    own = named[size][model] if size in named else size
    if model == "gr00t":
        given = {"embodiment": "libero_franka", **settings}
        return gr00t.build(folder, own, precision, device, **given)
    return prismatic.build(folder, own, model == "openvla_oft", precision, device, **settings)


def observe(rows: int) -> Observation:
    """Random pictures of two views and states, all with the same instruction."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (rows, 2, 256, 256, 3), dtype=np.uint8)
    state = random.normal(size=(rows, 8)).astype(np.float32)
    return Observation(images, state, (_INSTRUCTION,) * rows)
