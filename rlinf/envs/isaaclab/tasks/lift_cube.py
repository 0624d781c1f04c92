"""mjlab's YAM arm, which shall lift a cube to a point; a camera on its wrist."""

from __future__ import annotations

from typing import Any

from rlinf.data.conventions import ActionConvention, Dimension
from rlinf.envs.isaaclab.task import Scene, StateSlice, Task

_NEAR = 0.05  # metres


def prepare(cfg: Any, scene: Scene) -> None:
    """The sizes of the camera; its own term would draw in every step."""
    actor = cfg.observations["actor"]
    actor.enable_corruption = False
    del actor.terms["actions"]
    del cfg.observations["camera"]
    for sensor in cfg.scene.sensors:
        if sensor.name == "camera_d405":
            sensor.height, sensor.width = scene.height, scene.width


def lifted(env: Any) -> Any:
    """[B] bool: the cube is where it was to be lifted to."""
    command = env.command_manager.get_term("lift_height")
    cube = env.scene["cube"].data.root_link_pos_w
    return (cube - command.target_pos).norm(dim=-1) < _NEAR


TASK = Task(
    ids={"mjlab": "Mjlab-Lift-Cube-Yam-Rgb"},
    instruction="lift the cube",
    views={"wrist": "camera_d405"},
    state=(StateSlice("joints, their speeds and the goal", "actor", 19),),
    actions=ActionConvention(
        "mjlab joints",
        tuple(
            Dimension(name, relative=False)
            for name in (*(f"joint {n}" for n in range(1, 7)), "gripper")
        ),
    ),
    max_steps=1000,
    steps_per_second=50,
    prepare=prepare,
    success=lifted,
)
