"""ManiSkill 3 tasks on a CPU: one simulator for each env, stepped in turn."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import gymnasium
import mani_skill.envs  # noqa: F401  registers the tasks
import numpy as np
from mani_skill.utils import sapien_utils
from mani_skill.utils.registration import REGISTERED_ENVS

from rlinf.config.simulators import ManiskillParams
from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult
from rlinf.envs.failures import RowFailed
from rlinf.envs.maniskill.fresh_physics import reset_exactly
from rlinf.envs.maniskill.instructions import instruction_of
from rlinf.envs.maniskill.light_visuals import use_collision_hulls_as_visuals
from rlinf.errors import UserError

FRAME_SIZE = 256  # pixels, side of a picture for people


class ManiSkillCpu:
    """B envs of one task.

    Images are rendered only by `observe` and `frames`: the env's observation mode is switched to
    "none" while it steps. With `obs_mode: state` the state is the task's flat state vector and
    there are no images; with `rgb` it is the robot's joint positions.
    """

    def __init__(self, num_envs: int, params: ManiskillParams) -> None:
        if params.id not in REGISTERED_ENVS:
            near = get_close_matches(params.id, REGISTERED_ENVS, n=3)
            raise UserError(
                f"env.*.init_params.id = {params.id}: ManiSkill has no such task",
                f"did you mean {', '.join(near)}?" if near else "see the list of ManiSkill tasks",
            )
        self.num_envs = num_envs
        self.tasks: Sequence[str] = (params.instruction or instruction_of(params.id),)
        self._images = params.obs_mode == "rgb"
        self._envs = [_make(params) for _ in range(num_envs)]
        self.action_dim: int = self._envs[0].action_space.shape[-1]

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        for env, start in zip(ids.tolist(), starts, strict=True):
            try:
                reset_exactly(self._envs[env], start.seed)
            except Exception as error:
                raise RowFailed(env) from error

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        result = StepResult(
            np.zeros(self.num_envs, np.float32),
            np.zeros(self.num_envs, bool),
            np.zeros(self.num_envs, bool),
        )
        for env in np.flatnonzero(active).tolist():
            try:
                _, reward, terminated, _, info = self._envs[env].step(actions[env])
            except Exception as error:
                raise RowFailed(env) from error
            result.rewards[env] = float(reward)
            result.terminated[env] = bool(terminated)
            result.success[env] = bool(info.get("success", False))
        return result

    def observe(self, ids: np.ndarray) -> Observation:
        texts = (self.tasks[0],) * len(ids)
        seen = [self._see(self._envs[env]) for env in ids.tolist()]
        if not seen:
            return Observation(
                np.zeros((0, 0, 0, 0, 3), np.uint8), np.zeros((0, 0), np.float32), ()
            )
        return Observation(
            np.stack([images for images, _ in seen]), np.stack([state for _, state in seen]), texts
        )

    def frames(self, ids: np.ndarray) -> np.ndarray:
        pictures = [_numpy(self._envs[env].render_rgb_array())[0] for env in ids.tolist()]
        return np.stack(pictures)

    def tool_and_object(self, env: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions [3] of the tool and of the task's object, metres, world frame.

        Privileged: for scripted experts, never for a policy.
        """
        simulator = self._envs[env]
        tool, item = simulator.agent.tcp.pose.p, simulator.obj.pose.p
        return _numpy(tool)[0], _numpy(item)[0]

    def close(self) -> None:
        for env in self._envs:
            env.close()
        self._envs = []

    def _see(self, env: Any) -> tuple[np.ndarray, np.ndarray]:
        """Images [V, H, W, 3] uint8 and state [S] float32 of one env."""
        if not self._images:
            return np.zeros((0, 0, 0, 3), np.uint8), _numpy(env.get_obs()).reshape(-1)
        env._obs_mode = "rgb"
        sensors = env.get_obs()["sensor_data"]
        env._obs_mode = "none"
        views = [_numpy(camera["rgb"])[0] for camera in sensors.values()]
        return np.stack(views), _numpy(env.agent.robot.get_qpos())[0].astype(np.float32)


def _make(params: ManiskillParams) -> Any:
    """One env without wrappers: step limits and resets are ours."""
    cameras: dict[str, Any] = {"shader_pack": params.shader}
    if params.camera is not None:
        pose = sapien_utils.look_at(params.camera.eye, params.camera.target)
        cameras |= {"width": params.camera.width, "height": params.camera.height}
        cameras["base_camera"] = {"pose": pose, "fov": params.camera.fov}
    options: dict[str, Any] = {"reward_mode": params.reward_mode}
    env: Any = gymnasium.make(
        params.id,
        num_envs=1,
        obs_mode=params.obs_mode,
        control_mode=params.control_mode,
        sim_backend="cpu",
        render_backend="cpu",
        render_mode="rgb_array",
        sensor_configs=cameras,
        human_render_camera_configs={"width": FRAME_SIZE, "height": FRAME_SIZE},
        sim_config={"sim_freq": params.sim_freq, "control_freq": params.control_freq},
        **({} if params.reward_mode == "raw" else options),
    ).unwrapped
    if params.light_visuals:
        env.reset(seed=0)
        use_collision_hulls_as_visuals(env)
    if params.obs_mode == "rgb":
        env._obs_mode = "none"
    return env


def _numpy(value: Any) -> np.ndarray:
    """A copy that later steps do not write into."""
    return np.array(value.cpu() if hasattr(value, "cpu") else value)
