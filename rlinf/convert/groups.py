"""What the usual group files of the published RLinf say, for a main file that comes without them.

By the name of the file, in the folders and spellings of all versions. Only values that decide
something here; a folder's own file always wins.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

Content = dict[str, Any]


def _maniskill(task: str, steps: int, **params: Any) -> Content:
    return {
        "simulator_type": "maniskill",
        "max_episode_steps": steps,
        "init_params": {"id": task, **params},
    }


def _bridge(task: str, **params: Any) -> Content:
    """A task of the WidowX robot: 500 / 5 Hz, the picture drawn with the shader `default`."""
    content = _maniskill(
        task,
        80,
        obs_mode="rgb+segmentation",
        control_mode=None,
        sim_backend="gpu",
        sim_config={"sim_freq": 500, "control_freq": 5},
        sensor_configs={"shader_pack": "default"},
        **params,
    )
    return content | {"use_rel_reward": True}


def _libero(suite: str) -> Content:
    return {
        "simulator_type": "libero",
        "task_suite_name": suite,
        "max_episode_steps": 512,
        "use_rel_reward": True,
        "reset_gripper_open": True,
        "init_params": {"camera_heights": 256, "camera_widths": 256},
    }


_PLATE = _bridge("PutOnPlateInScene25Main-v3", obj_set="train")
_CARROT = _bridge("PutCarrotOnPlateInScene-v2")
_PICK_CUBE = _maniskill(
    "PickCube-v1",
    50,
    obs_mode="state",
    sim_backend="gpu",
    sim_config={"sim_freq": 100, "control_freq": 20},
) | {"reward_mode": "raw"}

_ENVS: dict[str, Content] = {
    "PutOnPlateInScene25Main": _PLATE,
    "maniskill_put_on_plate_in_scene_25_main": _PLATE,
    "maniskill_ood_template": _PLATE | {"ignore_terminations": True, "total_num_envs": 16},
    "PutCarrotOnPlateInScene": _CARROT,
    "maniskill_put_carrot_on_plate_in_scene": _CARROT,
    "manikill_put_carrot_on_plate_in_scene": _CARROT,
    "PickCube": _PICK_CUBE,
    "maniskill_pick_cube": _PICK_CUBE,
    **{
        f"libero_{suite}": _libero(f"libero_{suite}")
        for suite in ("spatial", "object", "goal", "10", "90", "130")
    },
    "behavior_r1pro": {"simulator_type": "behavior"},
    "isaaclab_stack_cube": {"simulator_type": "isaaclab"},
    **{
        name: {"simulator_type": name.partition("_")[0]}
        for name in ("metaworld_50", "metaworld_45_ind", "metaworld_45_ood")
    },
    "place_shoe": {"simulator_type": "robotwin"},
}

_VLA: Content = {
    "precision": "bf16",
    "center_crop": True,
    "policy_setup": "widowx_bridge",
    "lora_rank": 32,
    "action_dim": 7,
    "num_images_in_input": 1,
}

_MODELS: dict[str, Content] = {
    "openvla": _VLA | {"model_type": "openvla", "num_action_chunks": 1},
    "openvla_oft": _VLA | {"model_type": "openvla_oft", "num_action_chunks": 8},
    "mlp": {
        "model_type": "mlp",
        "precision": "32",
        "policy_setup": "panda-qpos",
        "obs_dim": 42,
        "action_dim": 8,
        "hidden_dim": 256,
        "num_action_chunks": 1,
    },
    "gr00t": {"model_type": "gr00t"},
    "pi0": {"model_type": "openpi"},
    "pi0_5": {"model_type": "openpi"},
}

_EVALUATED = {"PickCube": 32, **{name: 500 for name in _ENVS if name.startswith("libero_")}}
"""Sub-envs of an evaluation that the file of December 2025 names itself."""

_EVALUATION = {"ignore_terminations": True}
"""What the files that stand for evaluation alone add."""


def known(part: str) -> Content | None:
    """Content of a group file, by its path below the folder of configurations without `.yaml`;
    None for a name that is not known here.
    """
    group, _, name = part.rpartition("/")
    if group == "training_backend":
        return {}
    if group == "model":
        return deepcopy(_MODELS.get(name))
    if group == "env/eval" and name in _ENVS:
        envs = {"num_envs": _EVALUATED[name]} if name in _EVALUATED else {}
        return deepcopy(_ENVS[name]) | _EVALUATION | envs
    return deepcopy(_ENVS.get(name)) if group in ("env", "env/train") else None
