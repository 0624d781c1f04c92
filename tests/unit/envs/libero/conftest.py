"""The real LIBERO, and the way that its own authors run it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np
import pytest

from rlinf.config.libero import LiberoParams
from rlinf.envs.libero.env import LiberoEnv

SIZE = 32  # pixels


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    if find_spec("robosuite") is None:
        pytest.skip("needs LIBERO: bash requirements/install.sh --env libero")
    if "LIBERO_ASSETS" not in os.environ:
        pytest.skip("needs LIBERO's assets in LIBERO_ASSETS, or their archive in RLINF_ASSETS")


@pytest.fixture
def make() -> Iterator[Callable[..., LiberoEnv]]:
    """Builds adapters of small images, closed at the end of the test."""
    built: list[LiberoEnv] = []

    def build(num_envs: int, suite: str, **settings: object) -> LiberoEnv:
        cameras = ("agentview", "robot0_eye_in_hand")
        given = {"cameras": cameras, "camera_size": SIZE, "gripper": "native", **settings}
        built.append(LiberoEnv(num_envs, LiberoParams(task_suite_name=suite, **given)))
        return built[-1]

    yield build
    for env in built:
        env.close()


class SlowWay:
    """LIBERO as its wrapper runs it: everything is built anew, every step renders every camera."""

    def __init__(self, env: LiberoEnv, task: int, seed: int, trial: int, settle: int, resets: int):
        from libero.libero.envs import OffScreenRenderEnv

        listed = env._listed[task]
        np.random.seed(4321)  # noqa: NPY002  what it begins with must not matter
        self.env = OffScreenRenderEnv(
            bddl_file_name=str(listed.problem), camera_heights=SIZE, camera_widths=SIZE
        )
        self.env.seed(seed)
        for _ in range(resets):
            self.env.env.reset()
        self.seen = self.env.set_init_state(listed.init_states()[trial])
        for _ in range(settle):
            self.step([0, 0, 0, 0, 0, 0, -1])

    def step(self, action) -> tuple[float, bool]:
        self.seen, reward, done, _ = self.env.step(action)
        return reward, done

    def images(self) -> np.ndarray:
        names = ("agentview_image", "robot0_eye_in_hand_image")
        return np.stack([self.seen[name][::-1, ::-1] for name in names])

    def physics(self) -> np.ndarray:
        return self.env.get_sim_state()

    def close(self) -> None:
        self.env.env.close()
