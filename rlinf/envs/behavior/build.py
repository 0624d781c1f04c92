"""Builds BEHAVIOR in its own Python: `simulator_type` behavior."""

from __future__ import annotations

from collections.abc import Sequence

from rlinf.envs.behavior import challenge, data, dialect
from rlinf.envs.behavior.adapter import BehaviorEnv
from rlinf.errors import UserError


def make_behavior(
    num_envs: int,
    tasks: str,
    instances: str,
    cameras: Sequence[str],
    camera_size: Sequence[int],
    state: Sequence[str],
    success_reward: float,
    instruction: str | None,
    room_types: Sequence[str] | None,
    isaac_sim: str,
) -> BehaviorEnv:
    """The simulator; `config.BehaviorParams` says what is what."""
    activities = challenge.select(tasks)
    found = {name: data.instances(name) for name in activities}
    wanted = challenge.INSTANCES[instances]
    starts = {
        name: each.training if instances == "training" else each.evaluation
        for name, each in found.items()
    }
    for name, files in starts.items():
        if len(files) < wanted:
            raise UserError(
                f"the activity {name} has {len(files)} {instances} instances on this machine, "
                f"there are {wanted}",
                f"remove the folder of the task instances and fetch it again: {data.FETCH}",
            )
    return BehaviorEnv(
        dialect.find(num_envs, camera_size, room_types),
        found,
        {name: files[:wanted] for name, files in starts.items()},
        {name: instruction or challenge.ACTIVITIES[name] for name in activities},
        cameras,
        camera_size,
        state,
        success_reward,
    )
