"""One LIBERO task in MuJoCo: resets, steps and images, without episodes."""

from __future__ import annotations

from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING

import mujoco
import numpy as np

from rlinf.data.random import seed31
from rlinf.envs.libero.config import Protocol
from rlinf.envs.libero.conventions import HOLD, proprioception
from rlinf.envs.libero.noise import distorted
from rlinf.envs.libero.physics import one_pass
from rlinf.envs.libero.snapshots import LiberoSnapshot
from rlinf.envs.libero.suites import SuiteTask

if TYPE_CHECKING:
    from robosuite.environments.base import MujocoEnv

_TRIES = 50  # placements of objects that overlap are drawn anew


class LiberoScene:
    """A built scene; equal resets and actions give equal bits, whatever was simulated before.

    A reset keeps the compiled model and the renderer, which takes a ninth of the time that LIBERO's
    own reset takes and ends in the same state, bit for bit.
    """

    def __init__(
        self,
        task: SuiteTask,
        states: np.ndarray,
        protocol: Protocol,
        cameras: tuple[str, ...],
        fast: bool,
    ) -> None:
        """Builds the scene, which takes one to three seconds.

        Args:
            task: problem file, and whose code builds it.
            states: [n, 1 + nq + nv] float64 recorded start states.
            protocol: what a reset and an image are.
            cameras: views of an observation.
            fast: draw without multisampling, reflections and shadow buffer.
        """
        self._states, self._protocol, self._cameras = states, protocol, cameras
        self._noise, self._seed, self._moves = task.noise, 0, 0
        with _FixedRandomness(0):
            self._env = _build(task, cameras, protocol.camera_size)
        if fast:
            draw_fast(self._env)
        self._snapshot = LiberoSnapshot(self._env, cameras)

    def reset(self, trial: int, seed: int) -> None:
        """Puts the scene into a recorded start state and lets it settle.

        Args:
            trial: which state.
            seed: of the fixtures' poses, where the protocol has them depend on the episode.
        """
        self._seed, self._moves = seed, 0
        rule = self._protocol.fixture_seed
        with _FixedRandomness(seed if rule == "episode" else 0):
            for _ in range(trial + 1 if rule == "running" else 1):
                _reset(self._env)
        # A soft reset forgets the gripper's command, which is a hidden state of the controller.
        gripper = self._env.robots[0].gripper
        gripper.current_action = np.zeros_like(gripper.current_action)
        self._set_state(self._states[trial])
        for _ in range(self._protocol.settle_steps):
            self._move(HOLD[self._protocol.settle_gripper])

    def step(self, action: np.ndarray) -> bool:
        """Executes an action [7] for 50 ms; whether the goal holds now."""
        return self._move(np.array(action, np.float64))

    def images(self) -> np.ndarray:
        """[V, S, S, 3] uint8, what the policy sees; rendered now."""
        return np.stack([self._upright(camera) for camera in self._cameras])

    def picture(self) -> np.ndarray:
        """[H, W, 3] uint8 for a person: the scene from the front, rendered now."""
        pixels = self._snapshot.render("agentview", self._protocol.camera_size)
        return np.ascontiguousarray(pixels[::-1, ::-1])

    def state(self) -> np.ndarray:
        """[8] float32, see `conventions.proprioception`."""
        return proprioception(*self._snapshot.proprioception())

    def physics(self) -> np.ndarray:
        """[1 + nq + nv] float64: time, joint positions and velocities of MuJoCo."""
        state: np.ndarray = self._env.sim.get_state().flatten()
        return state

    @property
    def objects_of_interest(self) -> tuple[str, ...]:
        """What the task is about, in the order of the problem file: the thing, then its place."""
        return tuple(self._env.obj_of_interest)

    def position(self, name: str) -> np.ndarray:
        """[3] metres, world frame, of the body of an object or fixture; privileged."""
        body = self._env.obj_body_id[name]
        return np.array(self._env.sim.data.body_xpos[body])

    def close(self) -> None:
        """Frees model and renderer."""
        context = self._env.sim._render_context_offscreen
        context.gl_ctx.make_current()
        context.con.free()
        context.gl_ctx.free()
        self._env.close()

    def _move(self, action: np.ndarray) -> bool:
        self._moves += 1
        with one_pass(self._env.sim):
            _, _, solved, _ = self._env.step(action)
        return bool(solved)

    def _upright(self, camera: str) -> np.ndarray:
        pixels = self._snapshot.render(camera, self._protocol.camera_size)
        if self._noise and camera == "agentview":
            with _FixedRandomness(int(seed31(self._seed, self._moves))):
                pixels = distorted(pixels, self._noise)
        return np.ascontiguousarray(pixels[::-1, ::-1] if self._protocol.rotate_180 else pixels)

    def _set_state(self, state: np.ndarray) -> None:
        """What LIBERO's `set_init_state` does."""
        env = self._env
        env.sim.set_state_from_flattened(state)
        env.sim.forward()
        env._check_success()
        env._post_process()
        env._update_observables(force=True)


class _FixedRandomness:
    """NumPy's global generator begins at `seed` inside; outside nothing changes.

    LIBERO draws from it, and from nothing else.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed % 2**32

    def __enter__(self) -> None:
        self._kept = np.random.get_state()  # noqa: NPY002
        np.random.seed(self._seed)  # noqa: NPY002

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        np.random.set_state(self._kept)  # noqa: NPY002


def _build(task: SuiteTask, cameras: tuple[str, ...], size: int) -> MujocoEnv:
    """The robosuite env inside LIBERO's wrapper, whose own reset would retry for ever."""
    wrapper = import_module(f"{task.module}.envs").OffScreenRenderEnv(
        bddl_file_name=str(task.problem),
        camera_names=list(cameras),
        camera_heights=size,
        camera_widths=size,
        hard_reset=False,
        ignore_done=True,  # step limits are not the simulator's business
    )
    env: MujocoEnv = wrapper.env
    return env


def _reset(env: MujocoEnv) -> None:
    """A reset of robosuite; it gives up where objects find no place."""
    from robosuite.utils.errors import RandomizationError

    for attempt in range(_TRIES):
        try:
            env.reset()
        except RandomizationError:
            if attempt == _TRIES - 1:
                raise
        else:
            return


def draw_fast(env: MujocoEnv) -> None:
    """Remakes the renderer without multisampling and shadow buffer, and without reflections."""
    context = env.sim._render_context_offscreen
    quality = env.sim.model._model.vis.quality
    quality.offsamples = quality.shadowsize = 0
    context.gl_ctx.make_current()
    context.con.free()
    context._set_mujoco_context_and_buffers()
    context.scn.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
