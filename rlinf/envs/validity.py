"""Whether what a simulator hands over is what it promised: checked once, where it enters.

After this boundary nothing is checked again. A reward that is not finite is no error here: it
loses its episode, see `algorithms.masks.sound_episodes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rlinf.data.types import Observation
from rlinf.envs.base import StepResult
from rlinf.envs.failures import RowFailed
from rlinf.errors import UserError

_KINDS = (("rewards", "float"), ("terminated", "bool"), ("success", "bool"))


class Invalid(ValueError):
    """A part that breaks the contract of `Simulator`; the message names it and the value."""


class ObservationCheck:
    """Observations of one simulator: types, shapes that never change, numbers that are finite."""

    def __init__(self) -> None:
        self._shapes: tuple[tuple[int, ...], ...] | None = None  # of a row, as first seen

    def __call__(self, observation: Observation, ids: np.ndarray) -> None:
        """Checks the rows of the envs `ids` ([K] int64).

        Raises:
            RowFailed: chained to an `Invalid`.
        """
        if len(ids) == 0:  # no row, no shape
            return
        images, state, count, row = observation.images, observation.state, len(ids), int(ids[0])
        if images.dtype != np.uint8:
            raise _refusal(row, "observation.images", images.dtype, "uint8")
        if images.ndim != 5 or images.shape[0] != count or images.shape[-1] != 3:
            raise _refusal(row, "observation.images", images.shape, f"[{count}, V, H, W, 3]")
        if state.dtype != np.float32:
            raise _refusal(row, "observation.state", state.dtype, "float32")
        if state.ndim != 2 or state.shape[0] != count:
            raise _refusal(row, "observation.state", state.shape, f"[{count}, S]")
        if (texts := len(observation.instructions)) != count:
            raise _refusal(row, "observation.instructions", f"{texts} rows", f"{count} rows")
        for place, text in enumerate(observation.instructions):
            if not _is_text(text):
                what = f"observation.instructions[{place}]"
                raise _refusal(int(ids[place]), what, repr(text), "text that UTF-8 can express")
        shapes = images.shape[1:], state.shape[1:]
        first = self._shapes = self._shapes or shapes
        if shapes != first:
            raise _refusal(row, "observation", f"rows of {shapes}", f"{first} as before")
        if not np.isfinite(state).all():
            bad, place = np.argwhere(~np.isfinite(state))[0]
            where = f"observation.state[{place}]"
            raise _refusal(int(ids[bad]), where, state[bad, place], "a finite number")


def check_tasks(tasks: Sequence[str]) -> None:
    """The names of a simulator's tasks.

    Raises:
        UserError: there are none, or one is no text.
    """
    if len(tasks) == 0:
        raise UserError(
            "env.*.init_params: the simulator has no task", "name at least one task for it"
        )
    for index, name in enumerate(tasks):
        if not _is_text(name):
            raise UserError(
                f"env.*.init_params: the name of task {index}, {name!r}, is not valid UTF-8",
                "save the file that it comes from as UTF-8",
            )


def _is_text(value: str) -> bool:
    """Whether it can be written; text that was decoded carelessly holds halves of characters."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_step(result: StepResult, num_envs: int) -> None:
    """Types and shapes of a step of B envs.

    Raises:
        RowFailed: chained to an `Invalid`.
    """
    shape = (num_envs,)
    for name, kind in _KINDS:
        part: np.ndarray = getattr(result, name)
        if part.shape != shape or part.dtype.kind != kind[0]:
            raise _refusal(0, name, f"{list(part.shape)} {part.dtype}", f"[{num_envs}] {kind}")


def _refusal(row: int, part: str, found: object, wanted: str) -> RowFailed:
    failed = RowFailed(row)
    failed.__cause__ = Invalid(f"{part} is {found}, not {wanted}")
    return failed
