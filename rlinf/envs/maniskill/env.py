"""ManiSkill 3 tasks on a CPU: one simulator for each env, stepped in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult
from rlinf.envs.failures import blame
from rlinf.envs.maniskill.arm_control import use_arm_control
from rlinf.envs.maniskill.building import (
    instructions,
    look,
    make_env,
    num_starts,
    rewards,
    task_names,
    to_numpy,
)
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.envs.maniskill.fresh_physics import reset_exactly
from rlinf.envs.maniskill.light_visuals import use_collision_hulls_as_visuals
from rlinf.envs.maniskill.partial_reset import GLOBAL_RANDOM

if TYPE_CHECKING:
    from mani_skill.envs.sapien_env import BaseEnv


class ManiSkillCpu:
    """B envs of one task. Images are rendered only by `observe` and `frames`.

    Equal starts give equal episodes, bit for bit, whatever was simulated before.
    """

    replayable = True

    def __init__(self, num_envs: int, params: ManiskillParams) -> None:
        self.num_envs = num_envs
        self._params = params
        self._envs = [_make(params) for _ in range(num_envs)]
        self._info: list[dict[str, Any]] = [{}] * num_envs  # of the last step or reset
        self.tasks: Sequence[str] = task_names(self._envs[0], params)
        self.num_trials = num_starts(self._envs[0])
        self.action_dim: int = self._envs[0].action_space.shape[-1]

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        for env, start in zip(ids.tolist(), starts, strict=True):
            with blame(env):
                self._info[env] = reset_exactly(self._envs[env], start)

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        result = StepResult(
            np.zeros(self.num_envs, np.float32),
            np.zeros(self.num_envs, bool),
            np.zeros(self.num_envs, bool),
        )
        for env in np.flatnonzero(active).tolist():
            with blame(env):
                _, reward, terminated, _, info = self._envs[env].step(actions[env])
            self._info[env] = info
            result.rewards[env] = rewards(self._params, reward, info)[0]
            result.terminated[env] = bool(terminated)
            result.success[env] = bool(info.get("success", False))
        return result

    def observe(self, ids: np.ndarray) -> Observation:
        seen = []
        for env in ids.tolist():
            with blame(env):
                seen.append(look(self._envs[env], self._params, self._info[env]))
        if not seen:
            return Observation(
                np.zeros((0, 0, 0, 0, 3), np.uint8), np.zeros((0, 0), np.float32), ()
            )
        return Observation.concatenate(seen)

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        return tuple(instructions(self._envs[env], self._params)[0] for env in ids.tolist())

    def frames(self, ids: np.ndarray) -> np.ndarray:
        pictures = [to_numpy(self._envs[env].render_rgb_array())[0] for env in ids.tolist()]
        return np.stack(pictures)

    def tool_and_object(self, env: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions [3] of the tool and of the task's object, metres, world frame.

        Privileged: for scripted experts, never for a policy.
        """
        simulator = self._envs[env]
        tool, item = simulator.agent.tcp.pose.p, simulator.obj.pose.p
        return to_numpy(tool)[0], to_numpy(item)[0]

    def offload(self) -> None:
        """There is nothing on an accelerator."""

    def onload(self) -> None:
        """There is nothing to bring back."""

    def close(self) -> None:
        for env in self._envs:
            env.close()
        self._envs = []


def _make(params: ManiskillParams) -> BaseEnv:
    with GLOBAL_RANDOM:
        env = make_env(params, 1, "cpu")
    use_arm_control(env)
    if params.light_visuals:
        use_collision_hulls_as_visuals(env)
    return env
