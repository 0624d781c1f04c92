"""mjlab's pole on a cart, to be held upright for ten seconds."""

from __future__ import annotations

from typing import Any

from rlinf.data.conventions import ActionConvention, Dimension
from rlinf.envs.isaaclab.task import Scene, StateSlice, Task

_STEPS = 200
_UPRIGHT = 0.2  # radians
_CENTRED = 0.5  # metres


def prepare(cfg: Any, scene: Scene) -> None:
    """Without noise, with a camera from the side."""
    from mjlab.sensor import CameraSensorCfg

    cfg.observations["actor"].enable_corruption = False
    cfg.scene.sensors = (
        *(cfg.scene.sensors or ()),
        CameraSensorCfg(
            name="main",
            pos=(0.0, -4.0, 1.5),
            quat=(0.7071068, 0.7071068, 0.0, 0.0),  # looks along +y
            height=scene.height,
            width=scene.width,
        ),
    )


def stands(env: Any) -> Any:
    """[B] bool: upright and centred when the time is over."""
    joints = env.scene["cartpole"].data.joint_pos  # slider in metres, hinge in radians
    there = (joints[:, 1].abs() < _UPRIGHT) & (joints[:, 0].abs() < _CENTRED)
    return there & (env.episode_length_buf >= _STEPS)


TASK = Task(
    ids={"mjlab": "Mjlab-Cartpole-Balance"},
    instruction="keep the pole upright",
    views={"main": "main"},
    state=(StateSlice("cart, cos and sin of the pole, their speeds", "actor", 5),),
    actions=ActionConvention("mjlab effort", (Dimension("force", relative=False),)),
    max_steps=_STEPS,
    steps_per_second=20,
    prepare=prepare,
    success=stands,
)
