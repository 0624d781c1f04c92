"""The configuration that OmniGibson builds an environment from.

The values are those of the challenge's evaluation: 30 actions and pictures a second on 120 steps of
physics, joint controllers with absolute targets in radians, a base with velocities.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rlinf.envs.behavior.robot import BASE_SPEED, PROPRIO

ROBOT = "robot_r1"
CAMERAS = {
    "main": f"{ROBOT}:zed_link:Camera:0",
    "left_wrist": f"{ROBOT}:left_realsense_link:Camera:0",
    "right_wrist": f"{ROBOT}:right_realsense_link:Camera:0",
}
"""Our name of a view -> sensor of the robot: on the head and on both wrists."""
HEAD_APERTURE = 40.0
"""Horizontal aperture of the head's camera in the demonstrations, in millimetres."""
STEPS_PER_SECOND, PHYSICS_PER_SECOND = 30, 120
ENDLESS = 10**9
"""Steps after which the simulator itself would end an episode: step limits are ours, and its own
is one step early.
"""

_JOINTS: dict[str, Any] = {
    "name": "JointController",
    "motor_type": "position",
    "pos_kp": 150,
    "command_input_limits": None,
    "command_output_limits": None,
    "use_impedances": False,
    "use_delta_commands": False,
}
_FINGERS: dict[str, Any] = {
    "name": "MultiFingerGripperController",
    "mode": "smooth",
    "command_input_limits": "default",
    "command_output_limits": "default",
}


def environment(
    activity: str, scene: str, room_types: Sequence[str] | None, robot_key: str
) -> dict[str, Any]:
    """Sections of the configuration.

    Args:
        activity: name in BEHAVIOR-1K.
        scene: model that its instances are made for.
        room_types: those that are loaded; None loads the whole scene.
        robot_key: under which this version expects the robot's model: `type` or `model`.
    """
    return {
        "env": {
            "action_frequency": STEPS_PER_SECOND,
            "rendering_frequency": STEPS_PER_SECOND,
            "physics_frequency": PHYSICS_PER_SECOND,
            "automatic_reset": False,
            "flatten_obs_space": False,
            "flatten_action_space": False,
        },
        "scene": {
            "type": "InteractiveTraversableScene",
            "scene_model": scene,
            "load_room_types": list(room_types) if room_types is not None else None,
            "include_robots": False,
        },
        "robots": [_robot(robot_key)],
        "objects": [],
        "task": {
            "type": "BehaviorTask",
            "activity_name": activity,
            "activity_definition_id": 0,
            "activity_instance_id": 0,
            "online_object_sampling": False,
            "use_presampled_robot_pose": True,
            "termination_config": {"max_steps": ENDLESS},
            "reward_config": {"r_potential": 1.0},
            "include_obs": False,
        },
    }


def _robot(key: str) -> dict[str, Any]:
    speed = list(BASE_SPEED)
    return {
        key: {"type": "R1Pro", "model": "r1pro"}[key],
        "name": ROBOT,
        "obs_modalities": ["rgb", "proprio"],
        "proprio_obs": list(PROPRIO),
        "action_normalize": False,
        "grasping_mode": "assisted",
        "self_collisions": True,
        "controller_config": {
            "base": {
                "name": "HolonomicBaseJointController",
                "motor_type": "velocity",
                "vel_kp": 150,
                "command_input_limits": [[-1.0] * 3, [1.0] * 3],
                "command_output_limits": [[-each for each in speed], speed],
                "use_impedances": False,
            },
            "trunk": dict(_JOINTS),
            "arm_left": dict(_JOINTS),
            "gripper_left": dict(_FINGERS),
            "arm_right": dict(_JOINTS),
            "gripper_right": dict(_FINGERS),
            "camera": {"name": "NullJointController"},
        },
    }
