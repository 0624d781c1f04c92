"""IsaacLab 2.3 (Isaac Sim 5.1) and IsaacLab 3.0 (Isaac Sim, or Newton without it).

What was run: IsaacLab 3.0 with Newton on a CPU. What was not: everything under Isaac Sim, for lack
of a GPU with ray tracing; its tests are stand-ins that keep the published contract.

Isaac Sim's modules may be imported only once its application runs; hence the imports inside.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

import numpy as np

from rlinf.envs.isaaclab.dialect import ENDLESS_S, JUDGED
from rlinf.envs.isaaclab.examine import INSTALL
from rlinf.envs.isaaclab.rotations import Order
from rlinf.envs.isaaclab.task import Scene, Task
from rlinf.errors import UserError

_FETCH = (
    "tasks fetch their USD files from NVIDIA's server: copy this one, with the files beside it, "
    "from a machine that reaches it, and name it in the task's `prepare`, for example "
    "cfg.scene.robot.spawn.usd_path"
)


def uses_newton(physics: str) -> bool:
    """Whether IsaacLab 3.0 runs without Isaac Sim: asked for, or there is none."""
    if physics == "auto":
        return find_spec("isaacsim") is None
    return physics == "newton"


class _Isaac(ABC):
    """What the two versions have in common; see `Dialect` for its methods."""

    quaternion: Order

    def __init__(self, task: Task, scene: Scene, num_envs: int) -> None:
        self.num_envs = num_envs
        self._running = ExitStack()
        try:
            self._env = self._make(task, scene)
        except SystemExit as end:  # IsaacLab's launcher, where it finds no Isaac Sim
            raise UserError(
                f"IsaacLab did not start in {sys.executable}: its launcher ended with exit code "
                f"{end.code}",
                INSTALL,
            ) from end
        self.action_dim = int(self._env.action_manager.total_action_dim)

    def reset_all(self, seed: int) -> Mapping[str, Any]:
        observations, _ = self._env.reset(seed=seed)
        return dict(observations)

    def reset(self, rows: np.ndarray, seeds: Sequence[int]) -> Mapping[str, Any]:
        *others, last = zip(rows.tolist(), seeds, strict=True)
        for row, seed in others:  # only draws: the last reset computes what all rows show
            self._env.seed(seed)
            self._env._reset_idx(self._rows([row]))
        row, seed = last
        observations, _ = self._env.reset(seed=seed, env_ids=self._rows([row]))
        return dict(observations)

    def step(self, actions: np.ndarray) -> tuple[Mapping[str, Any], np.ndarray]:
        import torch

        given = torch.from_numpy(actions).to(self._env.device)
        observations, rewards, _, _, _ = self._env.step(given)
        return dict(observations), self.numpy(rewards)

    def keep(self) -> Any:
        state = _map(lambda tensor: tensor.clone(), self._env.scene.get_state())
        return state, self._env.episode_length_buf.clone()

    def put_back(self, state: Any, rows: np.ndarray) -> Mapping[str, Any]:
        ids, (scene, steps) = self._rows(rows), state
        self._env.scene.reset_to(_map(lambda tensor: tensor[ids.long()], scene), env_ids=ids)
        self._env.episode_length_buf[ids.long()] = steps[ids.long()]
        self._env.sim.forward()
        self._env.scene.update(dt=0.0)
        return dict(self._env.observation_manager.compute())

    def cameras(self) -> tuple[str, ...]:
        return tuple(self._env.scene.sensors)

    def pictures(self, camera: str) -> np.ndarray:
        output = self._env.scene[camera].data.output["rgb"]
        return self.numpy(getattr(output, "torch", output))[..., :3]

    def numpy(self, term: Any) -> np.ndarray:
        array: np.ndarray = term.detach().cpu().numpy().copy()
        return array

    def close(self) -> None:
        self._running.close()

    @abstractmethod
    def _make(self, task: Task, scene: Scene) -> Any:
        """Starts the simulator, and makes the env."""

    def _configure(self, cfg: Any, task: Task, scene: Scene) -> None:
        """What every task needs of a configuration."""
        cfg.episode_length_s = ENDLESS_S
        cfg.seed = 0
        task.prepare(cfg, scene)
        judge(cfg, task)

    def _gym(self, name: str, cfg: Any) -> Any:
        """The env itself, without the wrappers of gymnasium."""
        import gymnasium

        try:
            made = gymnasium.make(name, cfg=cfg)
        except FileNotFoundError as error:
            raise UserError(f"IsaacLab did not find a file of {name}: {error}", _FETCH) from error
        self._running.callback(made.close)
        return made.unwrapped

    def _rows(self, rows: Any) -> Any:
        import torch

        return torch.as_tensor(rows, dtype=torch.int32, device=self._env.device)


class IsaacLab2(_Isaac):
    """IsaacLab 2.3. Not run: its imports begin with Isaac Sim's own."""

    quaternion: Order = "wxyz"

    def _make(self, task: Task, scene: Scene) -> Any:
        try:
            from isaaclab.app import AppLauncher
        except ImportError as error:
            raise UserError(
                f"IsaacLab 2.3 did not start in {sys.executable}: {error}", INSTALL
            ) from error
        device = _device()
        launcher = AppLauncher(headless=True, enable_cameras=bool(task.views), device=device)
        self._running.callback(launcher.app.close)
        _keep_collecting()
        import isaaclab_tasks  # noqa: F401 - registers the tasks
        from isaaclab_tasks.utils import parse_env_cfg

        name = task.ids["isaaclab2"]
        cfg = parse_env_cfg(name, device=device, num_envs=self.num_envs)
        self._configure(cfg, task, scene)
        return self._gym(name, cfg)


class IsaacLab3(_Isaac):
    """IsaacLab 3.0."""

    quaternion: Order = "xyzw"

    def _make(self, task: Task, scene: Scene) -> Any:
        import isaaclab_tasks  # noqa: F401 - registers the tasks
        from isaaclab.app import launch_simulation
        from isaaclab_tasks.utils import parse_env_cfg

        name, device = task.ids["isaaclab3"], _device()
        presets = [*task.overrides.get("isaaclab3", ())]
        if scene.newton:
            presets.append("physics=newton_mjwarp")
        cfg = parse_env_cfg(name, device=device, num_envs=self.num_envs, overrides=presets)
        self._configure(cfg, task, scene)
        self._running.enter_context(launch_simulation(cfg, {"device": device}))
        _keep_collecting()
        return self._gym(name, cfg)


def judge(cfg: Any, task: Task) -> None:
    """Makes observation terms of the termination terms, which then reset nothing.

    Time limits go: they are ours.
    """
    from isaaclab.managers import ObservationGroupCfg, ObservationTermCfg

    group = ObservationGroupCfg()
    group.concatenate_terms = group.enable_corruption = False
    for name, term in vars(cfg.terminations).items():
        if term is not None and not term.time_out:
            ours = "success" if name == task.success else name
            setattr(group, ours, ObservationTermCfg(func=term.func, params=term.params))
        setattr(cfg.terminations, name, None)
    if callable(task.success):
        group.success = ObservationTermCfg(func=task.success)
    if not hasattr(group, "success"):
        raise UserError(
            f"the task has no termination term {task.success}",
            "name in Task.success the term that says success, or a function",
        )
    setattr(cfg.observations, JUDGED, group)


def _device() -> str:
    """The accelerator of the worker, or the CPU where it has none."""
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _keep_collecting() -> None:
    """Isaac Sim's application turns Python's collector of cycles off, and memory grows."""
    import gc

    gc.enable()


def _map(function: Any, state: Any) -> Any:
    """The same nested dictionaries with every tensor replaced."""
    if isinstance(state, Mapping):
        return {name: _map(function, part) for name, part in state.items()}
    return function(state)
