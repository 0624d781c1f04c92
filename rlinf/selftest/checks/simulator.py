"""What episodes rely on: starts of a group are equal, resets are partial, pictures are new."""

from __future__ import annotations

from typing import Any

import numpy as np

from rlinf.data.types import Observation, Start
from rlinf.envs.base import Simulator
from rlinf.registry import imported, simulator
from rlinf.selftest.check import Found, Scope, require

_STEPS = 8
_MANISKILL: dict[str, Any] = {
    "id": "PushCube-v1",
    "obs_mode": "rgb",
    "control_mode": "pd_ee_delta_pose",
    "reward_mode": "sparse",
}
_CAMERA = {"eye": [0.4, 0.2, 0.42], "target": [0.03, 0.0, 0.02], "fov": 0.72}
_SAME_STATE = 1e-5
"""Metres and radians by which equal starts of one GPU simulator may differ."""


def toy(scope: Scope) -> Found:
    """The rules themselves, on a simulator without a device."""
    made: Simulator = imported(simulator("toy_reach").build)(4, obs_dim=6, action_dim=3)
    return _checked(made, pictures=False)


def maniskill(scope: Scope) -> Found:
    """ManiSkill with all envs in one scene on a GPU, or one after the other on the CPU."""
    on_gpu = scope.gpus > 0
    side = 128 if on_gpu else 64
    settings = _MANISKILL | {
        "sim_backend": "gpu" if on_gpu else "cpu",
        "light_visuals": not on_gpu,
        "camera": {**_CAMERA, "width": side, "height": side},
    }
    made: Simulator = imported(simulator("maniskill").build)(16 if on_gpu else 2, **settings)
    return _checked(made, pictures=True)


def _checked(made: Simulator, pictures: bool) -> Found:
    """
    Raises:
        Failed: what an episode relies on does not hold.
    """
    every = np.arange(made.num_envs)
    start = Start(task=0, trial=-1 if made.num_trials == 0 else 0, seed=7)
    try:
        made.reset(every, [start] * made.num_envs)
        first = made.observe(every)
        apart = _apart(first, first.take(np.zeros(made.num_envs, np.int64)))
        require(apart[0] < _SAME_STATE, f"states of a group's starts differ by {apart[0]:.2g}")
        actions = np.zeros((made.num_envs, made.action_dim), np.float32)
        actions[:, 0] = 1.0
        for _ in range(_STEPS):
            made.step(actions, np.ones(made.num_envs, bool))
        moved = made.observe(every)
        far = _apart(moved, first)
        near = far[1] / 4  # a picture that differs by more shows another state
        require(max(far) > 1e-4, "steps move nothing")
        require(not pictures or far[1] > 0, "pictures are stale after steps")
        require(apart[1] <= near, f"pictures of a group's starts differ by {apart[1]:.2g} of 255")
        again = made.observe(every)
        noise = _apart(again, moved)  # of looking twice
        made.reset(every[:1], [start])
        partly = made.observe(every)
        others, own = _apart(partly.take(every[1:]), moved.take(every[1:])), every[:1]
        require(
            others[0] <= noise[0] + 1e-7 and others[1] <= noise[1] + 0.01,
            f"a reset of one env changes others: states by {others[0]:.2g}, pictures by "
            f"{others[1]:.2g} of 255",
        )
        back = _apart(partly.take(own), first.take(own))
        require(back[0] < _SAME_STATE, f"an equal start is another one: {back[0]:.2g}")
        require(back[1] <= near, f"the picture after a reset is stale: {back[1]:.2g} of 255 off")
    finally:
        made.close()
    return Found(
        f"{made.num_envs} envs: equal starts, partial reset, new pictures"
        if pictures
        else f"{made.num_envs} envs: equal starts, partial reset",
        {"envs": made.num_envs, "states_apart": apart[0], "pictures_apart": apart[1]},
    )


def _apart(one: Observation, other: Observation) -> tuple[float, float]:
    """Largest difference of states, and mean difference of pictures (0 to 255) of the worst row."""
    state = np.abs(one.state - other.state).max() if one.state.size else 0.0
    difference = np.abs(one.images.astype(np.float32) - other.images)
    pictures = difference.reshape(len(one), -1).mean(axis=1).max() if difference.size else 0.0
    return float(state), float(pictures)
