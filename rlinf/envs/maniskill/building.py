"""From the configuration to a ManiSkill env, and from its tensors to our arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal

import gymnasium
import mani_skill.envs  # noqa: F401  registers the tasks
import numpy as np
import torch
from mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.base_env import BaseBridgeEnv
from mani_skill.envs.utils.observations import parse_obs_mode_to_struct
from mani_skill.render import PREBUILT_SHADER_CONFIGS, ShaderConfig
from mani_skill.utils import sapien_utils
from mani_skill.utils.assets.data import DATA_SOURCES, is_data_source_downloaded
from mani_skill.utils.registration import REGISTERED_ENVS
from torch.nn.functional import interpolate

from rlinf.data.types import Observation, Start
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.envs.maniskill.instructions import INSTRUCTIONS, instruction_of
from rlinf.envs.maniskill.put_on_plate import task as put_on_plate
from rlinf.envs.maniskill.put_on_plate.task import PutOnPlateInScene
from rlinf.envs.maniskill.shader import choose_shader, has_environment_map, without_table
from rlinf.errors import UserError

if TYPE_CHECKING:
    from mani_skill.envs.sapien_env import BaseEnv

os.environ.setdefault("MS_SKIP_ASSET_DOWNLOAD_PROMPT", "1")  # stdin has no one to answer

FRAME_SIZE = 256  # pixels, side of a picture for people
CAMERA = "base_camera"  # ManiSkill's name for the camera that looks at the table

# Part of ManiSkill's message, the key that it is about, and what to do.
_REFUSALS = (
    ("not in supported modes", "control_mode", "choose one of the modes it lists"),
    ("Unsupported reward mode", "reward_mode", "choose sparse, or raw for the task's own default"),
    ("Unsupported obs mode", "obs_mode", "choose rgb or state, whichever it lists"),
    (f"{CAMERA} is not a valid", "camera", "leave it out to use the task's own cameras"),
)


def make_env(params: ManiskillParams, num_envs: int, backend: Literal["cpu", "gpu"]) -> BaseEnv:
    """An env of `num_envs` parallel scenes (one on a CPU), without ManiSkill's step limit."""
    put_on_plate.register()
    if params.id not in REGISTERED_ENVS:
        near = get_close_matches(params.id, REGISTERED_ENVS, n=3)
        raise UserError(
            f"env.*.init_params.id = {params.id}: ManiSkill has no such task",
            f"did you mean {', '.join(near)}?" if near else "see the list of ManiSkill tasks",
        )
    require_assets(params)
    shader = without_table(params.shader) if backend == "cpu" else None
    env = _make_env(params, num_envs, backend, shader)
    if shader is not None and has_environment_map(env):
        env.close()
        env = _make_env(params, num_envs, backend, PREBUILT_SHADER_CONFIGS[params.shader])
    try:
        _check_pictures(env, params)
    except UserError:
        env.close()
        raise
    set_observation_mode(env, "none")  # observations are computed by `look` alone
    return env


def _check_pictures(env: BaseEnv, params: ManiskillParams) -> None:
    """Raises UserError where cameras give pictures of several sizes, and nothing makes them one."""
    if params.obs_mode == "state" or params.image_size is not None:
        return
    sizes = {
        name: (sensor.config.height, sensor.config.width)
        for name, sensor in env.scene.sensors.items()
    }
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name} {h} x {w}" for name, (h, w) in sizes.items())
        height, width = min(sizes.values())
        raise UserError(
            f"env.*.init_params.id = {params.id}: its cameras give pictures of different sizes "
            f"({shown})",
            f"set image_size=[{height},{width}] in env.train.init_params and env.eval.init_params",
        )


def _make_env(
    params: ManiskillParams,
    num_envs: int,
    backend: Literal["cpu", "gpu"],
    shader: ShaderConfig | None,
) -> BaseEnv:
    """An env whose cameras use a shader; None for ManiSkill's own of that name."""
    drawn = {"shader_pack": params.shader} if shader is None else {"shader_config": shader}
    if shader is not None:
        choose_shader(shader)
    own: dict[str, Any] = {} if params.obj_set is None else {"obj_set": params.obj_set}
    try:
        made: Any = gymnasium.make(
            params.id,
            num_envs=num_envs,
            obs_mode=observation_mode(params),
            control_mode=params.control_mode,
            reward_mode=_reward_mode(params),
            sim_backend=backend,
            render_backend=backend,
            render_mode="rgb_array",
            sensor_configs=drawn | _camera(params),
            human_render_camera_configs=drawn | _camera_for_people(params),
            sim_config=_frequencies(params),
            **own,
        )
    except (OSError, ImportError) as error:  # files or a package that the task needs
        raise UserError(
            f"env.*.init_params.id = {params.id}: ManiSkill cannot build it ({error})",
            f"if it lacks assets: python -m mani_skill.utils.download_asset {params.id} -y",
        ) from error
    except (AssertionError, AttributeError, NotImplementedError) as error:
        for sign, key, fix in _REFUSALS:
            if sign in str(error):
                value = getattr(params, key)
                raise UserError(
                    f"env.*.init_params.{key} = {value}: {params.id} refuses it ({error})", fix
                ) from error
        raise
    env: BaseEnv = made.unwrapped
    if env.single_action_space.shape is None:
        parts = ", ".join(env.single_action_space)
        env.close()
        raise UserError(
            f"env.*.init_params.id = {params.id}: its actions have several parts ({parts})",
            "choose a task with one robot",
        )
    return env


def look(env: BaseEnv, params: ManiskillParams, info: dict[str, Any]) -> Observation:
    """What all scenes of an env show, rendered now; the arrays are copies.

    With `obs_mode: state` the state is the task's flat state vector and there are no images; with
    `rgb` there is an image per camera, and the state is the robot's joint positions. `info` is what
    the last step or reset returned; without it ManiSkill would judge the state again, and there are
    tasks that count how often they do.
    """
    set_observation_mode(env, observation_mode(params))
    try:
        shown = env.get_obs(info)
    finally:
        set_observation_mode(env, "none")
    texts = instructions(env, params)
    if params.obs_mode == "state":
        images = np.zeros((env.num_envs, 0, 0, 0, 3), np.uint8)
        return Observation(images, to_numpy(shown).astype(np.float32), texts)
    views = [_picture(camera["rgb"], params) for camera in shown["sensor_data"].values()]
    joints = to_numpy(env.agent.robot.get_qpos()).astype(np.float32)
    return Observation(np.stack(views, axis=1), joints, texts)


def task_names(env: BaseEnv, params: ManiskillParams) -> tuple[str, ...]:
    """The one task of an env: its name where the text depends on the start, else its text."""
    if isinstance(env, PutOnPlateInScene):
        return (env.task_name,)
    return instructions(env, params)[:1]


def rewards(params: ManiskillParams, reward: Any, info: Mapping[str, Any]) -> np.ndarray:
    """The reward of the present state: [B] float32.

    Tasks without a reward of their own still say whether they are solved, and some whether the
    object is held; `staged` is the reward of Liu et al. (arXiv 2505.19789) made of that.
    """
    if params.reward_mode == "staged":
        held, steady, solved = (
            to_numpy(info[key]).astype(np.float32)
            for key in ("is_src_obj_grasped", "consecutive_grasp", "success")
        )
        return 0.1 * held + 0.1 * steady + solved * held
    if params.reward_mode == "sparse" and _modes(params, "reward") == ["none"]:
        if "success" not in info:
            raise UserError(
                f"env.*.init_params.id = {params.id}: the task has neither a reward nor a success",
                "choose a task that can be learned",
            )
        return to_numpy(info["success"]).astype(np.float32)
    return to_numpy(reward).astype(np.float32).reshape(-1)


def instructions(env: BaseEnv, params: ManiskillParams) -> tuple[str, ...]:
    """Task text of each scene: the configured one, the task's own, or the one we keep for it.

    Where the policy sees no pictures it reads no text either, and any task is named by its id.
    """
    if params.instruction is not None:
        return (params.instruction,) * env.num_envs
    if hasattr(env, "get_language_instruction"):  # some tasks have one for every episode
        return tuple(env.get_language_instruction())
    if params.obs_mode == "state" and params.id not in INSTRUCTIONS:
        return (params.id,) * env.num_envs
    return (instruction_of(params.id),) * env.num_envs


def num_starts(env: BaseEnv) -> int:
    """Different starts of a task that numbers them; 0 where the seed draws one."""
    if isinstance(env, PutOnPlateInScene):
        return env.num_episodes
    if isinstance(env, BaseBridgeEnv):
        return len(env.xyz_configs) * len(env.quat_configs)
    return 0


def reset_options(starts: Sequence[Start]) -> dict[str, Any]:
    """ManiSkill's options for a reset of envs to starts that are numbered, or none of them is."""
    if any(start.trial < 0 for start in starts):
        return {}
    return {"episode_id": torch.tensor([start.trial for start in starts], dtype=torch.int64)}


def to_numpy(value: Any) -> np.ndarray:
    """A copy that later steps do not write into; ManiSkill reuses its tensors."""
    return np.array(value.cpu().numpy() if hasattr(value, "cpu") else value)


def set_observation_mode(env: BaseEnv, mode: str) -> None:
    """What the env computes in `step` and `get_obs`; ManiSkill has no public way to change it."""
    env._obs_mode = mode
    env.obs_mode_struct = parse_obs_mode_to_struct(mode)


def require_assets(params: ManiskillParams) -> None:
    """Raises UserError where files are missing; ManiSkill itself would ask on stdin."""
    missing = params.missing_assets()
    if missing is not None:
        raise UserError(*missing)
    for name in REGISTERED_ENVS[params.id].asset_download_ids:
        source = DATA_SOURCES.get(name)
        if source is not None and not is_data_source_downloaded(name):
            raise UserError(
                f"env.*.init_params.id = {params.id}: ManiSkill's assets {name} are missing, "
                f"{source.output_dir / source.target_path}",
                f"python -m mani_skill.utils.download_asset {name} -y",
            )


def _modes(params: ManiskillParams, kind: Literal["obs", "reward"]) -> list[str]:
    """Observation or reward modes that a task has."""
    task = REGISTERED_ENVS[params.id].cls
    return list(task.SUPPORTED_OBS_MODES if kind == "obs" else task.SUPPORTED_REWARD_MODES)


def observation_mode(params: ManiskillParams) -> str:
    """ManiSkill's mode; tasks that paste things onto a photo need the segmentation for it."""
    given, wanted = _modes(params, "obs"), params.obs_mode
    both = f"{wanted}+segmentation"
    return both if wanted not in given and both in given else wanted


def _reward_mode(params: ManiskillParams) -> str | None:
    """ManiSkill's mode; None is the task's default."""
    given = _modes(params, "reward")
    if params.reward_mode == "raw" or (params.reward_mode == "sparse" and given == ["none"]):
        return None
    if params.reward_mode == "staged":
        if not issubclass(REGISTERED_ENVS[params.id].cls, (PutOnPlateInScene, BaseBridgeEnv)):
            raise UserError(
                f"env.*.init_params.reward_mode = staged: {params.id} does not say whether the "
                "object is held",
                "choose sparse, or one of the task's own",
            )
        return "none"
    return params.reward_mode


def _frequencies(params: ManiskillParams) -> dict[str, int]:
    named = {"sim_freq": params.sim_freq, "control_freq": params.control_freq}
    return {key: value for key, value in named.items() if value is not None}


def _camera_for_people(params: ManiskillParams) -> dict[str, Any]:
    """Settings of the camera for people.

    Its shader is that of the policy's camera, as `fresh_physics` knows one for all of an env. The
    Bridge tasks have a calibrated camera, whose size is kept.
    """
    if issubclass(REGISTERED_ENVS[params.id].cls, BaseBridgeEnv):
        return {}
    return {"width": FRAME_SIZE, "height": FRAME_SIZE}


def _picture(rgb: torch.Tensor, params: ManiskillParams) -> np.ndarray:
    """[B, H, W, 3] uint8, reduced to the configured size (bilinear, antialiased)."""
    if params.image_size is None or rgb.shape[1:3] == params.image_size:
        return to_numpy(rgb)
    planes = rgb.permute(0, 3, 1, 2).float()
    small = interpolate(planes, params.image_size, mode="bilinear", antialias=True)
    return to_numpy(small.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1))


def _camera(params: ManiskillParams) -> dict[str, Any]:
    """Settings of the policy's camera that are not the task's own."""
    camera = params.camera
    if camera is None:
        return {}
    pose = sapien_utils.look_at(camera.eye, camera.target)
    own = {"pose": pose, "fov": camera.fov, "width": camera.width, "height": camera.height}
    return {CAMERA: own}
