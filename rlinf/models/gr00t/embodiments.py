"""Embodiments: which views, which state and which actions a GR00T model has, by name.

A model has statistics and weights of its own for every embodiment, under a tag. What the keys of
its statistics are in a simulator is said here, or in a YAML file of the user's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Self

import numpy as np
import yaml
from pydantic import ValidationError, model_validator

from rlinf.config.base import Count, Index, Section
from rlinf.errors import UserError
from rlinf.models.gr00t.folder import METADATA, Gr00tFolder
from rlinf.models.prismatic.conventions import ConventionName

_SOURCE = re.compile(r"([^\[\]]+)(?:\[(\d+):(\d+)\])?")


class Embodiment(Section):
    """What a model reads and gives with one robot."""

    tag: str
    """Name in the folder's metadata.json."""
    slot: Index
    """Which of the head's weights it has."""
    views: tuple[str, ...]
    """Pictures of an observation, by the names that simulators give them, in the model's order."""
    reads: dict[str, Count]
    """The simulator's state: name and size of each slice, in its order."""
    state: dict[str, str]
    """Key of the statistics -> slice of the simulator's state that it is, or a part of one:
    `joints[0:7]`; in the model's order."""
    action: tuple[str, ...]
    """Keys of the statistics that an action consists of, in the simulator's order."""
    state_form: Literal["normalised", "sine_cosine"] = "normalised"
    """How the model sees the state: by statistics, or the sines and then the cosines of angles."""
    normaliser: Literal["min_max", "mean_std", "q99", "binary"] = "min_max"
    """Which statistics bring state and actions to about -1..1, and back."""
    convention: ConventionName = "native"
    """What the numbers of an action mean; `native`: what they mean in the simulator."""

    @model_validator(mode="after")
    def _sources(self) -> Self:
        self.columns()
        return self

    def columns(self) -> dict[str, np.ndarray]:
        """Key of the state -> places in the simulator's state."""
        ends = np.cumsum(list(self.reads.values()))
        places = {
            name: np.arange(end - size, end)
            for (name, size), end in zip(self.reads.items(), ends.tolist(), strict=True)
        }
        found = {}
        for key, source in self.state.items():
            match = _SOURCE.fullmatch(source)
            if match is None or match[1] not in places:
                raise ValueError(
                    f"state.{key} = {source}: `reads` has {', '.join(places)}; write one of them, "
                    "or a part such as joints[0:7]"
                )
            first, last = (int(match[2]), int(match[3])) if match[2] else (0, None)
            found[key] = places[match[1]][first:last]
        return found


_ARM = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
_POSITION, _ROTATION = "end-effector position", "end-effector rotation"
_HAND = {_POSITION: 3, _ROTATION: 3, "gripper": 2}
# The keys are called roll, pitch and yaw, but the data has the three numbers of axis times angle.
_FRANKA = {
    **{key: f"{_POSITION}[{place}:{place + 1}]" for place, key in enumerate(_ARM[:3])},
    **{key: f"{_ROTATION}[{place}:{place + 1}]" for place, key in enumerate(_ARM[3:6])},
    "gripper": "gripper",
}

BUILT_IN: Mapping[str, Embodiment] = {
    one.tag: one
    for one in (
        Embodiment(
            tag="libero_franka",
            slot=31,
            views=("main", "wrist"),
            reads=_HAND,
            state=_FRANKA,
            action=_ARM,
            convention="libero",
        ),
        Embodiment(
            tag="isaaclab_franka",
            slot=31,
            views=("main", "wrist"),
            reads=_HAND,
            state=_FRANKA,
            action=_ARM,
        ),
        Embodiment(
            tag="maniskill_widowx",
            slot=30,
            views=("main",),
            reads={"joints": 8},
            state={"left_arm": "joints[0:7]"},
            action=("left_arm",),
            state_form="sine_cosine",
            convention="bridge",
        ),
    )
}
NEW = "new_embodiment"
_NEW_SLOT = 31
_VIEWS = ("main", "wrist", *(f"view {number}" for number in range(3, 9)))


def embodiment(name: str, folder: Gr00tFolder) -> Embodiment:
    """The embodiment of a tag, or of a YAML file.

    Raises:
        UserError: there is no such one, or the file does not describe one.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if name == NEW:
        return _of_metadata(folder)
    if name.endswith((".yaml", ".yml")):
        return read(Path(name).expanduser())
    known = [*BUILT_IN, NEW]
    near = get_close_matches(name, known, n=1) or known[:1]
    raise UserError(
        f"actor.model.embodiment = {name}: there are {', '.join(known)}, and the model has "
        f"statistics of {', '.join(sorted(folder.metadata))}",
        f"write {near[0]}, or the path of a .yaml file that describes yours",
    )


def read(path: Path) -> Embodiment:
    """The embodiment that a YAML file describes.

    Raises:
        UserError: the file is missing, or does not describe one.
    """
    try:
        return Embodiment.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise UserError(
            f"actor.model.embodiment = {path} cannot be read: {error}",
            "name an existing file, or one of " + ", ".join([*BUILT_IN, NEW]),
        ) from error
    except (yaml.YAMLError, ValidationError) as error:
        raise UserError(
            f"actor.model.embodiment = {path} describes no embodiment: {error}",
            "docs/source-en/guides/gr00t.md has an example",
        ) from error


def _of_metadata(folder: Gr00tFolder) -> Embodiment:
    """All views, state and actions that the model's metadata has under the tag, in its order."""
    found = folder.statistics(NEW)
    views = folder.metadata[NEW].get("modalities", {}).get("video", {})
    if not views or len(views) > len(_VIEWS):
        raise UserError(
            f"{folder.path / METADATA}: {NEW} has {len(views)} views in modalities.video",
            f"it takes 1 to {len(_VIEWS)}; correct the file, or describe the embodiment in YAML",
        )
    sizes = {key: len(numbers["min"]) for key, numbers in found["state"].items()}
    return Embodiment(
        tag=NEW,
        slot=_NEW_SLOT,
        views=_VIEWS[: len(views)],
        reads=sizes,
        state={key: key for key in sizes},
        action=tuple(found["action"]),
    )
