"""ManiSkill 3 tasks on a GPU: PhysX steps all envs of one simulator at once.

What was run: every line, on the CPU backend with one env, where it gives what `ManiSkillCpu` gives.
What was not: PhysX on a GPU, and with it several envs in one simulator. GPU physics is not exactly
repeatable (envs in equal states drift apart by rounding), so the members of a group share their
start but not every bit of what follows.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.base_env import BaseBridgeEnv

from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult
from rlinf.envs.maniskill import snapshots
from rlinf.envs.maniskill.building import (
    instructions,
    look,
    make_env,
    num_starts,
    reset_options,
    rewards,
    task_names,
    to_numpy,
)
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.envs.maniskill.partial_reset import GLOBAL_RANDOM, reset_rows
from rlinf.errors import UserError

if TYPE_CHECKING:
    from mani_skill.agents.controllers.base_controller import BaseController


class ManiSkillGpu:
    """B envs of one task in one simulator. Images are rendered only by `observe` and `frames`.

    Args:
        num_envs: B.
        params: the task.
        backend: `cpu` allows one env; it is there for tests on machines without a GPU.
    """

    def __init__(
        self, num_envs: int, params: ManiskillParams, backend: Literal["gpu", "cpu"] = "gpu"
    ) -> None:
        if params.light_visuals:
            raise UserError(
                "env.*.init_params.light_visuals = True: GPU simulation draws the stock meshes",
                "set it to False, or sim_backend to cpu",
            )
        self.num_envs = num_envs
        self._params, self._backend = params, backend
        self.replayable = backend == "cpu"  # a GPU adds forces up in no fixed order
        with GLOBAL_RANDOM:
            self._env = make_env(params, num_envs, backend)
        if num_envs > 1 and isinstance(self._env, BaseBridgeEnv):
            raise UserError(
                f"env.*.init_params.id = {params.id}: its resets let things settle, which moves "
                "every env of a batch",
                "set sim_backend to cpu",
            )
        self._info: dict[str, Any] = {}  # of the last step or reset
        self.tasks: Sequence[str] = task_names(self._env, params)
        self.num_trials = num_starts(self._env)
        self.action_dim: int = self._env.single_action_space.shape[0]
        self._relative = relative_dimensions(self._env.agent.controller, self.action_dim)
        self._last = np.zeros((num_envs, self.action_dim), np.float32)

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        # Numbered starts say all about an episode. Others are reset one by one: many tasks draw
        # from torch, which ManiSkill seeds once per call, so that in a joint reset a start would
        # depend on which other envs are reset with it.
        together = len(starts) > 0 and all(start.trial >= 0 for start in starts)
        pairs = list(zip(ids.tolist(), starts, strict=True))
        for part in [pairs] if together else [[pair] for pair in pairs]:
            # A seed for every env is asked for; those of the others are not used.
            seeds = dict.fromkeys(range(self.num_envs), part[0][1].seed)
            seeds |= {env: start.seed for env, start in part}
            rows = torch.tensor([env for env, _ in part], device=self._env.device)
            options = reset_options([start for _, start in part])
            self._info = reset_rows(self._env, rows, list(seeds.values()), options)
        self._last[ids] = 0

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        self._last = holding(actions, active, self._last, self._relative)
        _, reward, terminated, _, self._info = self._env.step(
            torch.from_numpy(self._last).to(self._env.device)
        )
        success = self._info.get("success", torch.zeros_like(terminated))
        return StepResult(
            rewards=np.where(active, rewards(self._params, reward, self._info), 0).astype(
                np.float32
            ),
            terminated=active & to_numpy(terminated),
            success=active & to_numpy(success),
        )

    def observe(self, ids: np.ndarray) -> Observation:
        if len(ids) == 0:
            return Observation(
                np.zeros((0, 0, 0, 0, 3), np.uint8), np.zeros((0, 0), np.float32), ()
            )
        return look(self._env, self._params, self._info).take(ids)

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        texts = instructions(self._env, self._params)
        return tuple(texts[env] for env in ids.tolist())

    def frames(self, ids: np.ndarray) -> np.ndarray:
        return to_numpy(self._env.render_rgb_array())[ids]

    def offload(self) -> None:
        """Keeps the state of all envs in host memory and takes the scene down.

        The process and the renderer's device stay, so that building the scene again takes
        seconds. SAPIEN keeps a part of the memory of a closed scene; how much on a GPU was not
        measured.
        """
        self._kept = snapshots.take(self._env)
        self._env.close()
        del self._env
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def onload(self) -> None:
        if hasattr(self, "_env"):
            return
        with GLOBAL_RANDOM:
            self._env = make_env(self._params, self.num_envs, self._backend)
        snapshots.restore(self._env, self._kept)
        self._info = self._env.get_info()

    def close(self) -> None:
        if hasattr(self, "_env"):  # not while it is offloaded
            self._env.close()


def holding(
    actions: np.ndarray, active: np.ndarray, last: np.ndarray, relative: np.ndarray
) -> np.ndarray:
    """Actions [B, A] that move the active envs and let the others hold still.

    Args:
        actions: [B, A] for the active envs.
        active: [B] bool.
        last: [B, A] actions of the step before.
        relative: [A] bool, dimensions in which 0 means "stay"; in the others, such as the width of
            a gripper, it is the last action again.
    """
    still = np.where(relative, 0, last)
    return np.where(active[:, None], actions, still).astype(np.float32)


def relative_dimensions(controller: BaseController, action_dim: int) -> np.ndarray:
    """[A] bool: the action dimensions that say how far to move, not where to be."""
    relative = np.zeros(action_dim, bool)
    for name, (first, end) in controller.action_mapping.items():
        config = controller.controllers[name].config
        relative[first:end] = getattr(config, "use_delta", False)
    return relative
