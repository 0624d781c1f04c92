"""Images on demand that equal those which robosuite renders in every step, bit for bit.

A step is 25 physics steps, and robosuite takes its camera images in the 24th: an image rendered
after the step shows another moment. So at that very moment everything that an image depends on is
copied, which costs next to nothing, and an image is rendered from the copy on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mujoco
import numpy as np

if TYPE_CHECKING:
    from robosuite.environments.base import MujocoEnv

KEPT = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
"""Observables of robosuite that are used beside images."""

_PLACES = (
    *(
        "xpos",
        "xquat",
        "xmat",
        "xipos",
        "ximat",
        "geom_xpos",
        "geom_xmat",
        "site_xpos",
        "site_xmat",
    ),
    *("cam_xpos", "cam_xmat", "light_xpos", "light_xdir"),
)
"""What MuJoCo's renderer reads of its data: where bodies, shapes, marks, cameras and lights are."""


class LiberoSnapshot:
    """The moment of an env's latest observation.

    robosuite's image sensors are replaced by one that takes the snapshot, so that the moment is
    decided by the clock that they had. Unused observables are taken out.
    """

    def __init__(self, env: MujocoEnv, cameras: tuple[str, ...]) -> None:
        self._env = env
        self._data = mujoco.MjData(env.sim.model._model)
        self._colours = np.zeros(0)
        shutter, *_ = [f"{camera}_image" for camera in cameras]
        for name in list(env._observables):
            if name not in (*KEPT, shutter):
                del env._observables[name]

        def take(cache: dict[str, Any]) -> np.ndarray:
            self._take()
            return _NOTHING

        take.__modality__ = "image"  # type: ignore[attr-defined]
        env._observables[shutter]._sensor = take

    def proprioception(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position [3], quaternion [4] (x, y, z, w) and fingers [2] at the snapshot's moment."""
        position, quaternion, fingers = (self._env._observables[name].obs for name in KEPT)
        return position, quaternion, fingers

    def render(self, camera: str, size: int) -> np.ndarray:
        """[size, size, 3] uint8 as OpenGL has it, upside down."""
        sim = self._env.sim
        context = sim._render_context_offscreen
        context.gl_ctx.make_current()  # of several envs in a process the last one made is current
        live, colours = context.data, sim.model.site_rgba.copy()
        context.data = _Shown(self._data)
        sim.model.site_rgba[:] = self._colours
        try:
            pixels: np.ndarray = sim.render(camera_name=camera, width=size, height=size)
        finally:
            context.data = live
            sim.model.site_rgba[:] = colours
        return pixels

    def _take(self) -> None:
        sim = self._env.sim
        for name in _PLACES:
            getattr(self._data, name)[:] = getattr(sim.data._data, name)
        # Stoves show their state by the colour of a site, which changes after the step.
        self._colours = sim.model.site_rgba.copy()


class _Shown:
    """MuJoCo's data under the name that robosuite's renderer looks for."""

    def __init__(self, data: mujoco.MjData) -> None:
        self._data = data


_NOTHING = np.zeros((1, 1, 3), np.uint8)
