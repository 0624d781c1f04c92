"""The same physics with less work, bit for bit.

In each of the 25 physics steps of an action robosuite computes everything twice before the
controller acts (`mj_forward`: in the env's loop and in the controller) and MuJoCo once more in
`mj_step`. All three begin at the same positions and velocities, so what follows from these alone,
contacts above all, is computed once (`mj_step1`). Only forces are computed three times, as the
solver begins each time with what it found before; `mj_step2` does it for the last time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import mujoco

if TYPE_CHECKING:
    from robosuite.utils.binding_utils import MjSim


@contextmanager
def one_pass(sim: MjSim) -> Iterator[None]:
    """Inside, `sim` may be moved by its own `step` only."""
    model, data = sim.model._model, sim.data._data
    known = False  # what follows from positions and velocities has been computed

    def forward() -> None:
        nonlocal known
        if not known:
            mujoco.mj_step1(model, data)
            known = True
        mujoco.mj_fwdActuation(model, data)
        mujoco.mj_fwdAcceleration(model, data)
        mujoco.mj_fwdConstraint(model, data)

    def step(with_udd: bool = True) -> None:
        nonlocal known
        mujoco.mj_step2(model, data)
        known = False

    sim.forward, sim.step = forward, step
    try:
        yield
    finally:
        del sim.forward, sim.step  # the methods of the class are visible again
