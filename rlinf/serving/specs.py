"""The specs of a policy for vla-eval's client, which warns where a benchmark's differ.

The words of formats are vla-eval's (`vla_eval.specs`); what has none there is called `raw`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rlinf.data.conventions import ActionConvention, Dimension

MOVES, TURNS, FINGERS = ("x", "y", "z"), ("roll", "pitch", "yaw"), "gripper"
_ROTATIONS = {"axis-angle": "axis_angle", "Euler xyz": "euler_xyz"}
_GRIPPERS = {
    (-1.0, 1.0): ("binary_close_positive", (-1, 1)),
    (1.0, -1.0): ("binary_close_negative", (-1, 1)),
    (0.0, 1.0): ("binary_close_01", (0, 1)),
}
"""Numbers of open and closed -> format and range."""
_CAMERAS = {"main": "agentview"}  # the names of LIBERO's
_STATES: dict[tuple[tuple[str, int], ...], str] = {
    (("end-effector position", 3), ("end-effector rotation", 3), ("gripper", 2)): (
        "eef_pos3_axisangle3_gripper2"
    )
}
Spec = dict[str, dict[str, Any]]


def action_spec(takes: ActionConvention | None, action_dim: int) -> Spec:
    """The parts of an action: position, rotation and gripper, or all in one."""
    if takes is None or takes.names != (*MOVES, *TURNS, FINGERS):
        return {"actions": {"name": "actions", "dims": action_dim, "format": "raw"}}
    moves = [takes.of(name) for name in MOVES]
    position = "delta_xyz" if all(move.relative for move in moves) else "absolute_xyz"
    rotation = _ROTATIONS.get(takes.rotation or "", "raw")
    fingers = takes.of(FINGERS).gripper
    known = _GRIPPERS.get((fingers.open, fingers.closed)) if fingers is not None else None
    gripper = {"format": known[0], "range": list(known[1])} if known else {"format": "raw"}
    return {
        "position": {"name": "position", "dims": 3, "format": position, **_range(moves)},
        "rotation": {"name": "rotation", "dims": 3, "format": rotation},
        "gripper": {"name": "gripper", "dims": 1, **gripper},
    }


def observation_spec(
    views: Sequence[str],
    state: Sequence[tuple[str, int]],
    cameras: Mapping[str, str] = MappingProxyType({}),
) -> Spec:
    """What an observation has to hold: cameras, instruction, state.

    Args:
        cameras: view -> what clients call its picture, where that is not LIBERO's name.
        state: slices and their sizes; none where the policy does not read it.
    """
    image = {"name": "image", "dims": 0, "format": "rgb_hwc_uint8"}
    names = {**_CAMERAS, **cameras}
    spec: Spec = {names.get(view, view): image for view in views}
    if views:
        spec["language"] = {"name": "language", "dims": 0, "format": "language"}
    if state:
        kind = _STATES.get(tuple(state), "raw")
        spec["state"] = {"name": "state", "dims": sum(size for _, size in state), "format": kind}
    return spec


def observation_params(views: Sequence[str], state: Sequence[tuple[str, int]]) -> dict[str, bool]:
    """What a benchmark has to send beside its main camera. It may not know what is not asked."""
    wanted = {"send_state": bool(state), "send_wrist_image": "wrist" in views}
    return {name: True for name, asked in wanted.items() if asked}


def _range(moves: Sequence[Dimension]) -> dict[str, Any]:
    limit = moves[0].limit
    return {"range": [-limit, limit]} if limit is not None else {}
