"""mjlab: the interface of IsaacLab's managers on MuJoCo-Warp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlinf.envs.isaaclab.dialect import ENDLESS_S, JUDGED
from rlinf.envs.isaaclab.rotations import Order
from rlinf.envs.isaaclab.task import Scene, Task
from rlinf.errors import UserError

_STATE = ("qpos", "qvel", "act", "ctrl", "qacc_warmstart")  # of MuJoCo, one row for each env


class Mjlab:
    """See `Dialect` for its methods."""

    quaternion: Order = "wxyz"

    def __init__(self, task: Task, scene: Scene, num_envs: int) -> None:
        import mjlab.tasks  # noqa: F401 - registers the tasks
        import torch
        from mjlab.envs import ManagerBasedRlEnv
        from mjlab.tasks.registry import load_env_cfg

        self.num_envs = num_envs
        cfg = load_env_cfg(task.ids["mjlab"])
        cfg.scene.num_envs, cfg.seed = num_envs, 0
        cfg.episode_length_s = ENDLESS_S
        task.prepare(cfg, scene)
        judge(cfg, task)
        self._env = ManagerBasedRlEnv(cfg, "cuda:0" if torch.cuda.is_available() else "cpu")
        self.action_dim = int(self._env.action_manager.total_action_dim)
        # Its cameras would be drawn in every step; `pictures` draws.
        self._cameras = self._env.scene.sensor_context
        self._env.sim.set_sensor_context(None)
        self._drawn = False

    def reset_all(self, seed: int) -> Mapping[str, Any]:
        self._drawn = False
        return dict(self._env.reset(seed=seed)[0])

    def reset(self, rows: np.ndarray, seeds: Sequence[int]) -> Mapping[str, Any]:
        import torch

        self._drawn = False
        env, ids = self._env, torch.as_tensor(rows, device=self._env.device)
        env.sim.reset(ids)
        # Only draws: what all rows show is computed once, below. MuJoCo-Warp's own reset, which
        # every row would repeat, makes its kernels anew in each call.
        env.sim.reset = _nothing
        try:
            for index, seed in enumerate(seeds):
                env.seed(seed)
                env._reset_idx(ids[index : index + 1])
        finally:
            del env.sim.reset  # the class's own is back
        env.scene.write_data_to_sim()
        env.sim.forward()
        env.command_manager.compute(dt=0.0, env_ids=ids)
        return dict(env.observation_manager.compute(update_history=True, env_ids=ids))

    def step(self, actions: np.ndarray) -> tuple[Mapping[str, Any], np.ndarray]:
        import torch

        self._drawn = False
        observations, rewards, _, _, _ = self._env.step(torch.from_numpy(actions))
        return dict(observations), self.numpy(rewards)

    def keep(self) -> Any:
        data = self._env.sim.data
        state = {name: getattr(data, name)[:].clone() for name in _STATE}
        return state | {"steps": self._env.episode_length_buf.clone()}

    def put_back(self, state: Any, rows: np.ndarray) -> Mapping[str, Any]:
        import torch

        self._drawn = False
        ids = torch.as_tensor(rows, device=self._env.device)
        for name in _STATE:
            getattr(self._env.sim.data, name)[ids] = state[name][ids]
        self._env.episode_length_buf[ids] = state["steps"][ids]
        self._env.sim.forward()
        # Without `update_history` it would hand out what it computed last.
        return dict(self._env.observation_manager.compute(update_history=True))

    def cameras(self) -> tuple[str, ...]:
        return tuple(self._env.scene.sensors)

    def pictures(self, camera: str) -> np.ndarray:
        if not self._drawn:
            self._env.sim.set_sensor_context(self._cameras)
            self._env.sim.sense()
            self._env.sim.set_sensor_context(None)
            self._env.scene.sensors[camera].update(dt=0.0)
            self._drawn = True
        return self.numpy(self._env.scene.sensors[camera].data.rgb)

    def numpy(self, term: Any) -> np.ndarray:
        array: np.ndarray = term.detach().cpu().numpy().copy()
        return array

    def close(self) -> None:
        self._env.close()


def _nothing(rows: Any) -> None:
    """In the place of a reset that was done for all rows."""


def judge(cfg: Any, task: Task) -> None:
    """Makes observation terms of the termination terms, which then reset nothing."""
    from mjlab.managers.observation_manager import ObservationGroupCfg, ObservationTermCfg

    terms = {
        "success" if name == task.success else name: ObservationTermCfg(
            func=term.func, params=term.params
        )
        for name, term in cfg.terminations.items()
        if not term.time_out
    }
    cfg.terminations = {}
    if callable(task.success):
        terms["success"] = ObservationTermCfg(func=task.success)
    if "success" not in terms:
        raise UserError(
            f"the task has no termination term {task.success}",
            "name in Task.success the term that says success, or a function",
        )
    cfg.observations[JUDGED] = ObservationGroupCfg(
        terms=terms, concatenate_terms=False, enable_corruption=False
    )
