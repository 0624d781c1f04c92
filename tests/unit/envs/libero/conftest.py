"""The real LIBERO, and the way that its own authors run it."""

from __future__ import annotations

import os
from importlib.util import find_spec

import numpy as np
import pytest

from rlinf.envs.libero.suites import SuiteTask

SIZE = 32  # pixels


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    if find_spec("robosuite") is None:
        pytest.skip("needs LIBERO: bash requirements/install.sh --env libero")
    if "LIBERO_ASSETS" not in os.environ:
        pytest.skip("needs LIBERO's assets in LIBERO_ASSETS, or their archive in RLINF_ASSETS")


class SlowWay:
    """LIBERO as its wrapper runs it: everything is built anew, every step renders every camera."""

    def __init__(self, task: SuiteTask) -> None:
        from libero.libero.envs import OffScreenRenderEnv

        np.random.seed(4321)  # noqa: NPY002  what it begins with must not matter
        self._states = task.init_states()
        self.env = OffScreenRenderEnv(
            bddl_file_name=str(task.problem), camera_heights=SIZE, camera_widths=SIZE
        )

    def begin(self, seed: int, trial: int, settle: int, resets: int) -> None:
        self.env.env.sim._render_context_offscreen.gl_ctx.make_current()
        self.env.seed(seed)
        for _ in range(resets):
            self.env.env.reset()
        self.seen = self.env.set_init_state(self._states[trial])
        for _ in range(settle):
            self.step([0, 0, 0, 0, 0, 0, -1])

    def step(self, action) -> tuple[float, bool]:
        self.env.env.sim._render_context_offscreen.gl_ctx.make_current()
        self.seen, reward, done, _ = self.env.step(action)
        return reward, done

    def images(self) -> np.ndarray:
        names = ("agentview_image", "robot0_eye_in_hand_image")
        return np.stack([self.seen[name][::-1, ::-1] for name in names])

    def physics(self) -> np.ndarray:
        return self.env.get_sim_state()

    def close(self) -> None:
        self.env.env.close()
