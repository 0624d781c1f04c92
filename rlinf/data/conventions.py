"""What the numbers of an action mean to models and simulators, and how they are converted.

A model emits actions as its training data had them, a simulator takes them as its controller reads
them. Both sides declare an `ActionConvention`; `conversion` is what lies between. `None` in place
of a convention stands for "the other side's": a policy that learned in the simulator itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Rotation = Literal["Euler xyz", "axis-angle"]


@dataclass(frozen=True, slots=True)
class Gripper:
    """The numbers of a gripper."""

    open: float
    closed: float
    hold: float | None = None  # leaves the fingers as they are; None: there is no such number

    def __str__(self) -> str:
        return f"{self.open:g} open, {self.closed:g} closed"


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number of an action."""

    name: str
    unit: Literal["m", "rad", "m/s", "rad/s", ""] = ""
    size: float | None = None  # what 1 is in that unit; None: not known
    relative: bool = True  # to where the robot is, or was to be
    limit: float | None = None  # the simulator clips to -limit..limit; None: it does not
    gripper: Gripper | None = None

    def __str__(self) -> str:
        if self.gripper is not None:
            return str(self.gripper)
        what = "relative" if self.relative else "absolute"
        if self.size is None:
            return f"{what}, units not known"
        scale = self.unit if self.size == 1 else f"{self.size:g} {self.unit}"
        return f"{scale}, {what}" + (f", within +-{self.limit:g}" if self.limit else "")


@dataclass(frozen=True, slots=True)
class ActionConvention:
    """All numbers of an action, in their order."""

    title: str
    dimensions: tuple[Dimension, ...]
    rotation: Rotation | None = None  # of three rotations; None: there are none, or it is not known

    @property
    def names(self) -> tuple[str, ...]:
        """Of the numbers."""
        return tuple(dimension.name for dimension in self.dimensions)

    def of(self, name: str) -> Dimension:
        """One of the numbers."""
        return self.dimensions[self.names.index(name)]


def end_effector(
    title: str,
    translation: float | None,
    turn: float | None,
    gripper: Gripper,
    rotation: Rotation | None = None,
    *,
    relative: bool = True,
    limit: float | None = None,
) -> ActionConvention:
    """The pose of a gripper, or its change, and its fingers: seven numbers.

    Args:
        translation: metres of 1; None: not known.
        turn: radians of 1.
        limit: all but the fingers are clipped to it.
    """
    moved = [Dimension(name, "m", translation, relative, limit) for name in ("x", "y", "z")]
    turned = [Dimension(name, "rad", turn, relative, limit) for name in ("roll", "pitch", "yaw")]
    fingers = Dimension("gripper", relative=False, gripper=gripper)
    return ActionConvention(title, (*moved, *turned, fingers), rotation)


@dataclass(frozen=True, slots=True)
class Conversion:
    """From actions that one side gives to those that the other takes; see `conversion`."""

    order: tuple[int, ...] = ()  # place in the given action of each number taken; empty: the same
    factors: tuple[float, ...] = ()  # of each number taken; empty: all 1
    grippers: tuple[tuple[int, Gripper, Gripper], ...] = ()  # place, as given, as taken

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """Actions [..., A] float32; numbers that mean the same on both sides keep every bit."""
        if not (self.order or self.factors or self.grippers):
            return actions
        taken = np.array(actions[..., list(self.order)] if self.order else actions, np.float32)
        if self.factors:
            taken *= np.array(self.factors, np.float32)
        for place, given, wanted in self.grippers:
            taken[..., place] = fingers(taken[..., place], given, wanted)
        return taken


AS_IT_IS = Conversion()
_THE_SAME, _NOT_DECLARED = "the simulator's own", "not declared"


def fingers(values: np.ndarray, given: Gripper, wanted: Gripper) -> np.ndarray:
    """The numbers of a gripper in another convention: cut in the middle between open and closed.

    Exactly in the middle the fingers stay as they are where the taker has a number for that; else
    they close.
    """
    middle = (given.open + given.closed) / 2
    opening = (values - middle) * (given.open - given.closed)
    between = wanted.closed if wanted.hold is None else wanted.hold
    return np.select([opening > 0, opening < 0], [wanted.open, wanted.closed], between)


def conversion(given: ActionConvention | None, taken: ActionConvention | None) -> Conversion:
    """What turns actions of one convention into those of another.

    Numbers are put in order by name, scaled to the other's units where both are known, and a
    gripper that is counted differently is cut into open and closed. Where one side declares
    nothing, or all numbers mean the same, nothing is touched.
    """
    if given is None or taken is None:
        return AS_IT_IS
    assert not differences(given, taken), "checked when the configuration was loaded"
    places = tuple(given.names.index(name) for name in taken.names)
    pairs = [(given.dimensions[g], t) for g, t in zip(places, taken.dimensions, strict=True)]
    factors = tuple(_factor(g, t) for g, t in pairs)
    return Conversion(
        order=() if places == tuple(range(len(given.names))) else places,
        factors=() if set(factors) == {1.0} else factors,
        grippers=tuple(
            (place, g.gripper, t.gripper)
            for place, (g, t) in enumerate(pairs)
            if g.gripper is not None and t.gripper is not None and _differ(g.gripper, t.gripper)
        ),
    )


def differences(given: ActionConvention, taken: ActionConvention) -> list[str]:
    """What no conversion of numbers can bridge, each as `what is given, what is taken`."""
    if sorted(given.names) != sorted(taken.names):
        return [f"it gives {', '.join(given.names)}, the simulator takes {', '.join(taken.names)}"]
    found = [
        f"it gives {name} {_kind(g)}, the simulator takes it {_kind(t)}"
        for name in given.names
        if (g := given.of(name)).relative != (t := taken.of(name)).relative
    ]
    if None not in (given.rotation, taken.rotation) and given.rotation != taken.rotation:
        found.append(
            f"it gives rotations as {given.rotation}, the simulator takes {taken.rotation}"
        )
    return found


def explain(given: ActionConvention | None, taken: ActionConvention | None) -> list[list[str]]:
    """For people: rows of names, what is given, what is taken, and what happens in between."""
    known = taken or given
    if known is None:
        return [["all numbers", _THE_SAME, _NOT_DECLARED, "as it is"]]
    rows: list[list[str]] = []
    for name in known.names:
        g, t = (side.of(name) if side is not None else None for side in (given, taken))
        row = [
            name,
            _shown(given, name) if given is not None else _THE_SAME,
            _shown(taken, name) if taken is not None else _NOT_DECLARED,
            _step(g, t),
        ]
        if rows and rows[-1][1:] == row[1:]:
            rows[-1][0] += f", {name}"
        else:
            rows.append(row)
    return rows


def _shown(side: ActionConvention, name: str) -> str:
    turns = side.rotation is not None and name in ("roll", "pitch", "yaw")
    return f"{side.of(name)}, {side.rotation}" if turns else str(side.of(name))


def _step(given: Dimension | None, taken: Dimension | None) -> str:
    if given is None or taken is None:
        return "as it is"
    if given.gripper is not None and taken.gripper is not None:
        if not _differ(given.gripper, taken.gripper):
            return "as it is"
        middle = (given.gripper.open + given.gripper.closed) / 2
        above = given.gripper.open > given.gripper.closed
        first, second = taken.gripper.open, taken.gripper.closed
        return f"{'above' if above else 'below'} {middle:g}: {first:g}, else {second:g}"
    factor = _factor(given, taken)
    return "as it is" if factor == 1 else f"times {factor:g}"


def _factor(given: Dimension, taken: Dimension) -> float:
    if given.size is None or taken.size is None:
        return 1.0
    return given.size / taken.size


def _differ(given: Gripper, taken: Gripper) -> bool:
    return (given.open, given.closed) != (taken.open, taken.closed)


def _kind(dimension: Dimension) -> str:
    return "relative" if dimension.relative else "absolute"
