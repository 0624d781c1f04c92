"""Which case an episode id stands for: the environment ids, and the digits of a number.

An id is a number in mixed radix: object, plate, extra, background, position, rotation, from the
most significant digit to the least. What the extra digit means depends on the environment: a
phrasing, a texture, an arm pose or a distractor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Literal, NamedTuple

import numpy as np

from rlinf.envs.maniskill.put_on_plate import poses
from rlinf.envs.maniskill.put_on_plate.poses import Heights

ObjectSet = Literal["train", "test", "all"]

OBJECTS, PLATES, BACKGROUNDS = 25, 17, 21

PREFIX = "PutOnPlateInScene25"


class Axes(NamedTuple):
    """Values of each digit, most significant first."""

    object: range
    plate: range
    extra: range
    background: range
    position: range
    rotation: range


class Extra(NamedTuple):
    """What the extra digit of an environment means; at most one of these is set."""

    phrasing: bool = False  # index of a template of the instruction
    texture: bool = False  # index of the texture
    arm: bool = False  # row of `poses.joint_offsets`
    other_object: bool = False  # which object is the distractor
    other_plate: bool = False  # which plate is the distractor


_LOW = Heights(0.90, 0.90, 0.90)
_NOTHING = Extra()


@dataclass(frozen=True, slots=True)
class Variant:
    """What one environment id does; see `VARIANTS` for all of them."""

    sets: Mapping[ObjectSet, Axes]
    table: Callable[[Heights], np.ndarray] = poses.pairs
    heights: Heights = _LOW
    extra: Extra = _NOTHING
    texture_weight: float = 0.0  # 0 to 1; `whole_frame` says what it is blended into
    whole_frame: bool = False
    jumps: bool = False  # the object moves to the third place after JUMP_STEP actions


JUMP_STEP = 5

_SEEN, _NEW, _ANY = range(16), range(16, OBJECTS), range(OBJECTS)
_SEEN_TABLES, _NEW_TABLES, _ANY_TABLES = range(16), range(16, BACKGROUNDS), range(BACKGROUNDS)
_PLATE, _NEW_PLATES, _ANY_PLATES = range(1), range(1, PLATES), range(PLATES)
_NONE = range(1)
_TRAIN = Axes(_SEEN, _PLATE, _NONE, _SEEN_TABLES, range(784), range(4))


def _one_factor(**test: range) -> Mapping[ObjectSet, Axes]:
    """Training as in the main task; testing with new values of one factor; all: with both."""
    everything = {
        name: range(min(getattr(_TRAIN, name).start, new.start), new.stop)
        for name, new in test.items()
    }
    return {
        "train": _TRAIN,
        "test": _TRAIN._replace(**test),
        "all": _TRAIN._replace(**everything),
    }


_THIRD = range(2104)
_TEXTURE = Variant(_one_factor(extra=range(1, 17)), extra=Extra(texture=True))

VARIANTS: Mapping[str, Variant] = {
    # The training task, and its parts.
    "Main-v3": Variant(
        {
            "train": _TRAIN,
            "test": _TRAIN._replace(object=_NEW, background=_NEW_TABLES),
            "all": _TRAIN._replace(object=_ANY, background=_ANY_TABLES),
        }
    ),
    "MainCarrot-v3": Variant(
        {
            "train": _TRAIN._replace(background=_NONE),
            "test": _TRAIN._replace(object=_NEW, background=_NONE),
        }
    ),
    "MainImage-v3": Variant(
        {
            "train": _TRAIN._replace(object=_NONE),
            "test": _TRAIN._replace(object=_NONE, background=_NEW_TABLES),
        }
    ),
    "Single-v1": Variant({"train": _TRAIN._replace(object=_NONE, background=_NONE)}),
    # Vision.
    "VisionImage-v1": Variant(_one_factor(background=_NEW_TABLES)),
    "VisionTexture03-v1": replace(_TEXTURE, texture_weight=0.3),
    "VisionTexture05-v1": replace(_TEXTURE, texture_weight=0.5),
    "VisionWhole03-v1": replace(_TEXTURE, texture_weight=0.3, whole_frame=True),
    "VisionWhole05-v1": replace(_TEXTURE, texture_weight=0.5, whole_frame=True),
    # Semantic.
    "Carrot-v1": Variant(_one_factor(object=_NEW)),
    "Plate-v1": Variant(_one_factor(plate=_NEW_PLATES)),
    "Instruct-v1": Variant(_one_factor(extra=range(1, 17)), extra=Extra(phrasing=True)),
    "MultiCarrot-v1": Variant(
        {
            "train": _TRAIN._replace(extra=range(15), position=_THIRD),
            "test": _TRAIN._replace(object=_NEW, extra=range(8), position=_THIRD),
            "all": _TRAIN._replace(object=_ANY, extra=range(24), position=_THIRD),
        },
        poses.two_objects,
        Heights(0.95, 0.92, 1.00),
        Extra(other_object=True),
    ),
    "MultiPlate-v1": Variant(
        {
            "train": _TRAIN._replace(extra=range(16), background=_ANY_TABLES, position=_THIRD),
            "test": _TRAIN._replace(
                plate=_NEW_PLATES, extra=range(15), background=_ANY_TABLES, position=_THIRD
            ),
            "all": _TRAIN._replace(
                plate=_ANY_PLATES, extra=range(16), background=_ANY_TABLES, position=_THIRD
            ),
        },
        poses.two_plates,
        Heights(1.00, 0.92, 0.96),
        Extra(other_plate=True),
    ),
    # Execution.
    "Position-v1": Variant(
        _one_factor(position=range(784, 784 + 628), rotation=range(4, 8)),
        poses.pairs_and_ring,
        Heights(0.95, 0.95, 0.95),
    ),
    "EEPose-v1": Variant(_one_factor(extra=range(1, 14_376)), extra=Extra(arm=True)),
    "PositionChangeTo-v1": Variant(
        {"test": _TRAIN._replace(position=_THIRD)},
        poses.two_objects,
        Heights(0.95, 0.92, 1.00),
        jumps=True,
    ),
}
"""Environment id without its prefix -> what it does."""


@dataclass(frozen=True, slots=True)
class Cases:
    """K decoded episode ids."""

    object: np.ndarray  # [K] int64, index of the object to be moved
    plate: np.ndarray  # [K] int64, index of the plate to put it on
    extra: np.ndarray  # [K] int64, the extra digit
    background: np.ndarray  # [K] int64
    position: np.ndarray  # [K] int64, row of the variant's pose table
    rotation: np.ndarray  # [K] int64, row of `poses.yaws`
    other_object: np.ndarray  # [K] int64, the distractor; -1 for none
    other_plate: np.ndarray  # [K] int64, the distractor; -1 for none
    object_p: np.ndarray  # [K, 3] m
    object_q: np.ndarray  # [K, 4], also of the distractor object
    plate_p: np.ndarray  # [K, 3] m
    third_p: np.ndarray  # [K, 3] m, of the distractor, or where the object jumps to
    joints: np.ndarray  # [K, 8] rad and m, of the robot


class CaseSet:
    """All cases of one environment id and object set."""

    def __init__(self, env_id: str, obj_set: ObjectSet) -> None:
        self.variant = VARIANTS[env_id.removeprefix(PREFIX)]
        self.axes = self.variant.sets[obj_set]
        self.total = prod(len(axis) for axis in self.axes)

    @property
    def objects(self) -> range:
        """Objects that an episode may need."""
        return self.axes.object

    @property
    def plates(self) -> range:
        """Plates that an episode may need."""
        return _ANY_PLATES if self.variant.extra.other_plate else self.axes.plate

    @cached_property
    def _table(self) -> np.ndarray:
        return self.variant.table(self.variant.heights)

    @cached_property
    def _joints(self) -> np.ndarray:
        offsets = poses.joint_offsets() if self.variant.extra.arm else np.zeros((1, 8))
        return poses.START_JOINTS + offsets

    def digits(self, ids: np.ndarray) -> dict[str, np.ndarray]:
        """The digits of [K] int64 ids, each [K] int64, with the first value of its axis added."""
        ids = np.asarray(ids, np.int64)
        assert ((ids >= 0) & (ids < self.total)).all(), (ids, self.total)
        found = {}
        for name in reversed(Axes._fields):
            axis: range = getattr(self.axes, name)
            ids, digit = np.divmod(ids, len(axis))
            found[name] = digit + axis.start
        return found

    def decode(self, ids: np.ndarray) -> Cases:
        """What [K] int64 ids stand for."""
        digits = self.digits(ids)
        rows = self._table[digits["position"]]
        other_object, other_plate = self._other_object(digits), self._other_plate(digits)
        # The published mapping names the object itself in 1/8 of the test ids of MultiCarrot-v1:
        # then there is no distractor, and the object stands at the third place.
        itself = other_object == digits["object"]
        third = rows[:, -1]
        return Cases(
            **digits,
            other_object=np.where(itself, -1, other_object),
            other_plate=other_plate,
            object_p=np.where(itself[:, None], third, rows[:, 0]),
            object_q=poses.yaws()[digits["rotation"]],
            plate_p=rows[:, 1],
            third_p=third,
            joints=self._joints[digits["extra"] if self.variant.extra.arm else 0 * digits["extra"]],
        )

    def _other_object(self, digits: Mapping[str, np.ndarray]) -> np.ndarray:
        objects = self.axes.object
        if not self.variant.extra.other_object:
            return np.full_like(digits["object"], -1)
        return (digits["object"] + digits["extra"] + 1) % len(objects) + objects.start

    def _other_plate(self, digits: Mapping[str, np.ndarray]) -> np.ndarray:
        if not self.variant.extra.other_plate:
            return np.full_like(digits["plate"], -1)
        plates = self.axes.plate if len(self.axes.plate) > 1 else _ANY_PLATES
        step = digits["plate"] - plates.start + digits["extra"] + 1
        return step % len(plates) + plates.start
