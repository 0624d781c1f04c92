"""Builds the simulators in their own Python: `simulator_type` isaaclab and mjlab."""

from __future__ import annotations

from collections.abc import Sequence

from rlinf import installer
from rlinf.envs.hosting.installed import version_of
from rlinf.envs.isaaclab import arm
from rlinf.envs.isaaclab.adapter import BatchedEnv
from rlinf.envs.isaaclab.catalog import ISAACLAB, MJLAB, find
from rlinf.envs.isaaclab.dialect import Dialect
from rlinf.envs.isaaclab.task import Backend, Reward, Scene, Task
from rlinf.errors import UserError


def make_isaaclab(
    num_envs: int,
    id: str,
    cameras: Sequence[str] | None,
    camera_size: Sequence[int],
    reward: Reward,
    physics: str,
    fast_physics: bool,
    instruction: str | None,
    robot: str | None,
) -> BatchedEnv:
    """The simulator of `simulator_type: isaaclab`; `config.IsaacLabParams` says what is what."""
    from rlinf.envs.isaaclab import isaac

    installed = version_of("isaaclab", "IsaacLab", "isaaclab")
    major = installed.partition(".")[0]
    if major not in ("2", "3"):
        raise UserError(
            f"IsaacLab {installed} in the simulator's Python: 2.3 and 3.0 are supported",
            f"run: {installer.command('--env isaaclab')}",
        )
    backend: Backend = "isaaclab2" if major == "2" else "isaaclab3"
    _, task = find(id, ISAACLAB)
    if backend not in task.ids:
        raise UserError(
            f"env.*.init_params.id = {id}: IsaacLab {installed} does not have it",
            f"use the Python of IsaacLab {'3' if major == '2' else '2'}: env.*.python",
        )
    newton = backend == "isaaclab3" and isaac.uses_newton(physics)
    scene = Scene(backend, newton, camera_size[0], camera_size[1], fast_physics, arm.path(robot))
    dialect = isaac.IsaacLab2 if backend == "isaaclab2" else isaac.IsaacLab3
    return _env(dialect(task, scene, num_envs), task, cameras, reward, instruction)


def make_mjlab(
    num_envs: int,
    id: str,
    cameras: Sequence[str] | None,
    camera_size: Sequence[int],
    reward: Reward,
    instruction: str | None,
) -> BatchedEnv:
    """The simulator of `simulator_type: mjlab`; `config.MjlabParams` says what is what."""
    from rlinf.envs.isaaclab.mjlab_env import Mjlab

    version_of("mjlab", "mjlab", "mjlab")
    _, task = find(id, MJLAB)
    scene = Scene("mjlab", False, camera_size[0], camera_size[1], False, "")
    return _env(Mjlab(task, scene, num_envs), task, cameras, reward, instruction)


def _env(
    dialect: Dialect,
    task: Task,
    cameras: Sequence[str] | None,
    reward: Reward,
    instruction: str | None,
) -> BatchedEnv:
    views = tuple(task.views) if cameras is None else cameras
    return BatchedEnv(dialect, task, views, reward, instruction or task.instruction)
