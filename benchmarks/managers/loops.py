"""The own loops of IsaacLab 3.0 with Newton and of mjlab, and our adapter in its place.

Both have the same task with the same cameras, and all envs are stepped at once. The bare loop keeps
the simulator's own terminations and resets. Needs NumPy and the simulator alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from rlinf.data.types import Start
from rlinf.envs.hosting.child import imported
from rlinf.envs.isaaclab import arm
from rlinf.envs.isaaclab.catalog import ISAACLAB, MJLAB, find
from rlinf.envs.isaaclab.task import Scene, Task

SIZE = 0.02  # of a random action: nothing is hit


class Side:
    """Measures itself: only CPU seconds of the work that is asked for count."""

    action_dim: int
    num_envs: int

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._seed = 0

    def seconds(self, what: str, count: int) -> float:
        """CPU seconds of one `step`, `waiting` step, `look` or `reset` of all envs."""
        spent = 0.0
        for _ in range(count):
            if what == "look":
                self.step(self._actions())  # what was drawn already costs nothing
            given = (self._actions(),) if what in ("step", "waiting") else ()
            began = time.process_time()
            getattr(self, what)(*given)
            spent += time.process_time() - began
        return spent / count

    def chunk(self, length: int) -> None:
        """Some steps with a look at the end."""
        for _ in range(length):
            self.step(self._actions())
        self.look()

    def next_seed(self) -> int:
        self._seed += 2
        return self._seed

    def step(self, actions: np.ndarray) -> None:
        raise NotImplementedError

    def look(self) -> None:
        raise NotImplementedError

    def _actions(self) -> np.ndarray:
        shape = (self.num_envs, self.action_dim)
        return self._random.uniform(-SIZE, SIZE, shape).astype(np.float32)


class Adapter(Side):
    """Ours.

    Args:
        build: makes it.
        num_envs: B.
        settings: `init_params`.
    """

    def __init__(self, build: str, num_envs: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self._simulator = imported(build)(num_envs, **settings)
        self.num_envs, self.action_dim = num_envs, self._simulator.action_dim
        self._all = np.arange(num_envs)

    def step(self, actions: np.ndarray) -> None:
        self._simulator.step(actions, np.ones(self.num_envs, bool))

    def waiting(self, actions: np.ndarray) -> None:
        """A step in which one env does not move."""
        self._simulator.step(actions, self._all > 0)

    def look(self) -> None:
        self._simulator.observe(self._all)

    def reset(self) -> None:
        self._simulator.reset(self._all, [Start(0, -1, self.next_seed()) for _ in self._all])

    def close(self) -> None:
        self._simulator.close()


class Bare(Side):
    """The simulator's own.

    Args:
        simulator: `simulator_type`.
        num_envs: B.
        settings: `init_params`.
        pictures: its own terms draw in every step, as in the tasks that it comes with.
    """

    def __init__(
        self, simulator: str, num_envs: int, settings: Mapping[str, Any], pictures: bool
    ) -> None:
        import torch

        super().__init__()
        self._torch, self._running = torch, ExitStack()
        _, task = find(settings["id"], MJLAB if simulator == "mjlab" else ISAACLAB)
        views = task.views if settings["cameras"] is None else settings["cameras"]
        self._cameras = [task.views[view] for view in views]
        drawn = self._cameras if pictures else []
        make = mjlab if simulator == "mjlab" else isaaclab
        self._env = make(task, settings, num_envs, drawn, self._running)
        self._read = _mjlab_picture if simulator == "mjlab" else _isaaclab_picture
        self.num_envs, self.action_dim = num_envs, self._env.action_manager.total_action_dim

    def step(self, actions: np.ndarray) -> None:
        self._shown = self._env.step(self._torch.from_numpy(actions))

    def look(self) -> None:
        for camera in self._cameras:
            self._read(self._env, camera)

    def reset(self) -> None:
        self._env.reset(seed=self.next_seed())

    def close(self) -> None:
        self._running.close()


def isaaclab(
    task: Task, settings: Mapping[str, Any], num_envs: int, drawn: list[str], running: ExitStack
) -> Any:
    """The env, on a CPU with Newton."""
    import gymnasium
    import isaaclab_tasks  # noqa: F401 - registers the tasks
    from isaaclab.app import launch_simulation
    from isaaclab.envs import mdp
    from isaaclab.managers import ObservationGroupCfg, ObservationTermCfg, SceneEntityCfg
    from isaaclab_tasks.utils import parse_env_cfg

    name = task.ids["isaaclab3"]
    presets = [*task.overrides.get("isaaclab3", ()), "physics=newton_mjwarp"]
    cfg = parse_env_cfg(name, device="cpu", num_envs=num_envs, overrides=presets)
    height, width = settings["camera_size"]
    robot = arm.path(settings["robot"])
    task.prepare(cfg, Scene("isaaclab3", True, height, width, settings["fast_physics"], robot))
    cfg.seed = 0
    if drawn:
        group = ObservationGroupCfg()
        group.concatenate_terms = False
        for camera in drawn:
            params = {"sensor_cfg": SceneEntityCfg(camera), "normalize": False}
            setattr(group, camera, ObservationTermCfg(func=mdp.image_rgb, params=params))
        cfg.observations.pictures = group
    running.enter_context(launch_simulation(cfg, {"device": "cpu"}))
    made = gymnasium.make(name, cfg=cfg)
    running.callback(made.close)
    made.unwrapped.reset(seed=0)
    return made.unwrapped


def mjlab(
    task: Task, settings: Mapping[str, Any], num_envs: int, drawn: list[str], running: ExitStack
) -> Any:
    """The env, on a CPU; one that does not draw in a step is drawn when it is looked at."""
    import mjlab.tasks  # noqa: F401 - registers the tasks
    from mjlab.envs import ManagerBasedRlEnv
    from mjlab.tasks.registry import load_env_cfg

    cfg = load_env_cfg(task.ids["mjlab"])
    cfg.scene.num_envs, cfg.seed = num_envs, 0
    height, width = settings["camera_size"]
    task.prepare(cfg, Scene("mjlab", False, height, width, False, ""))
    env = ManagerBasedRlEnv(cfg, "cpu")
    running.callback(env.close)
    if not drawn:
        env.drawing = env.scene.sensor_context
        env.sim.set_sensor_context(None)
    env.reset(seed=0)
    return env


def _isaaclab_picture(env: Any, camera: str) -> Any:
    output = env.scene[camera].data.output["rgb"]
    return getattr(output, "torch", output).clone()


def _mjlab_picture(env: Any, camera: str) -> Any:
    drawing = getattr(env, "drawing", None)
    if drawing is not None:
        env.sim.set_sensor_context(drawing)
        env.sim.sense()
        env.sim.set_sensor_context(None)
        env.scene.sensors[camera].update(dt=0.0)
    return env.scene.sensors[camera].data.rgb.clone()
