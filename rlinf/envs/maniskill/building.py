"""From the configuration to a ManiSkill env, and from its tensors to our arrays."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

import gymnasium
import mani_skill.envs  # noqa: F401  registers the tasks
import numpy as np
import torch
from mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.base_env import BaseBridgeEnv
from mani_skill.envs.utils.observations import parse_obs_mode_to_struct
from mani_skill.utils import sapien_utils
from mani_skill.utils.registration import REGISTERED_ENVS

from rlinf.config.simulators import ManiskillParams
from rlinf.data.types import Observation, Start
from rlinf.envs.maniskill.instructions import instruction_of
from rlinf.errors import UserError

if TYPE_CHECKING:
    from mani_skill.envs.sapien_env import BaseEnv

FRAME_SIZE = 256  # pixels, side of a picture for people
CAMERA = "base_camera"  # ManiSkill's name for the camera that looks at the table

# Part of ManiSkill's message, the key that it is about, and what to do.
_REFUSALS = (
    ("not in supported modes", "control_mode", "choose one of the modes it lists"),
    ("Unsupported reward mode", "reward_mode", "choose sparse, or raw for the task's own default"),
    (f"{CAMERA} is not a valid", "camera", "leave it out to use the task's own cameras"),
)


def make_env(params: ManiskillParams, num_envs: int, backend: Literal["cpu", "gpu"]) -> BaseEnv:
    """An env of `num_envs` parallel scenes (one on a CPU), without ManiSkill's step limit."""
    if params.id not in REGISTERED_ENVS:
        near = get_close_matches(params.id, REGISTERED_ENVS, n=3)
        raise UserError(
            f"env.*.init_params.id = {params.id}: ManiSkill has no such task",
            f"did you mean {', '.join(near)}?" if near else "see the list of ManiSkill tasks",
        )
    try:
        made: Any = gymnasium.make(
            params.id,
            num_envs=num_envs,
            obs_mode=params.obs_mode,
            control_mode=params.control_mode,
            reward_mode=None if params.reward_mode == "raw" else params.reward_mode,
            sim_backend=backend,
            render_backend=backend,
            render_mode="rgb_array",
            sensor_configs=_cameras(params),
            human_render_camera_configs={"width": FRAME_SIZE, "height": FRAME_SIZE},
            sim_config={"sim_freq": params.sim_freq, "control_freq": params.control_freq},
        )
    except (AssertionError, AttributeError, NotImplementedError) as error:
        for sign, key, fix in _REFUSALS:
            if sign in str(error):
                value = getattr(params, key)
                raise UserError(
                    f"env.*.init_params.{key} = {value}: {params.id} refuses it ({error})", fix
                ) from error
        raise
    env: BaseEnv = made.unwrapped
    _set_observation_mode(env, "none")  # observations are computed by `look` alone
    return env


def look(env: BaseEnv, params: ManiskillParams) -> Observation:
    """What all scenes of an env show, rendered now; the arrays are copies.

    With `obs_mode: state` the state is the task's flat state vector and there are no images; with
    `rgb` there is an image per camera, and the state is the robot's joint positions.
    """
    _set_observation_mode(env, params.obs_mode)
    shown = env.get_obs()
    _set_observation_mode(env, "none")
    texts = instructions(env, params)
    if params.obs_mode == "state":
        images = np.zeros((env.num_envs, 0, 0, 0, 3), np.uint8)
        return Observation(images, to_numpy(shown).astype(np.float32), texts)
    views = [to_numpy(camera["rgb"]) for camera in shown["sensor_data"].values()]
    joints = to_numpy(env.agent.robot.get_qpos()).astype(np.float32)
    return Observation(np.stack(views, axis=1), joints, texts)


def instructions(env: BaseEnv, params: ManiskillParams) -> tuple[str, ...]:
    """Task text of each scene: the configured one, the task's own, or the one we keep for it."""
    if params.instruction is not None:
        return (params.instruction,) * env.num_envs
    if hasattr(env, "get_language_instruction"):  # some tasks have one for every episode
        return tuple(env.get_language_instruction())
    return (instruction_of(params.id),) * env.num_envs


def num_starts(env: BaseEnv) -> int:
    """Different starts of a task that numbers them; 0 where the seed draws one."""
    if isinstance(env, BaseBridgeEnv):
        return len(env.xyz_configs) * len(env.quat_configs)
    return 0


def reset_options(start: Start) -> dict[str, Any]:
    """ManiSkill's options for a reset of one env to a start."""
    if start.trial < 0:
        return {}
    return {"episode_id": torch.tensor([start.trial], dtype=torch.int64)}


def to_numpy(value: Any) -> np.ndarray:
    """A copy that later steps do not write into; ManiSkill reuses its tensors."""
    return np.array(value.cpu().numpy() if hasattr(value, "cpu") else value)


def _set_observation_mode(env: BaseEnv, mode: str) -> None:
    """What the env computes in `step` and `get_obs`; ManiSkill has no public way to change it."""
    env._obs_mode = mode
    env.obs_mode_struct = parse_obs_mode_to_struct(mode)


def _cameras(params: ManiskillParams) -> dict[str, Any]:
    """ManiSkill's `sensor_configs`."""
    camera = params.camera
    if camera is None:
        return {"shader_pack": params.shader}
    pose = sapien_utils.look_at(camera.eye, camera.target)
    own = {"pose": pose, "fov": camera.fov, "width": camera.width, "height": camera.height}
    return {"shader_pack": params.shader, CAMERA: own}
