"""The action conventions of data sets and controllers that are known here.

A new simulator or data set is an entry; the types and the conversion are in `data/conventions.py`.
"""

from __future__ import annotations

from typing import Literal

from rlinf.config.maniskill_tasks import TASKS
from rlinf.data.conventions import ActionConvention, Dimension, Gripper, end_effector

OPENVLA_GRIPPER = Gripper(open=1, closed=0)
"""Of the data that OpenVLA was trained on (Open X-Embodiment as its loader makes it equal)."""
OPENS_UP = Gripper(open=1, closed=-1)
"""ManiSkill: the width of a gripper, in -1..1."""
ROBOSUITE_GRIPPER = Gripper(open=-1, closed=1, hold=0)
"""robosuite: the direction in which the fingers go."""

ConventionName = Literal["openvla", "bridge", "libero", "native"]
DATA_SETS: dict[ConventionName, ActionConvention] = {
    "openvla": end_effector("openvla", None, None, OPENVLA_GRIPPER),
    "bridge": end_effector("bridge", 1, 1, OPENVLA_GRIPPER, "Euler xyz"),
    "libero": end_effector("libero", 0.05, 0.5, OPENVLA_GRIPPER, "axis-angle"),
}
"""What models emit that learned from a data set in OpenVLA's form: any, BridgeData V2, LIBERO."""

ROBOSUITE_OSC_POSE = end_effector(
    "robosuite OSC_POSE", 0.05, 0.5, ROBOSUITE_GRIPPER, "axis-angle", limit=1
)
WIDOWX = end_effector("WidowX", 1, 1, OPENS_UP, "Euler xyz")

PANDA_TASKS = frozenset(
    name for name, task in TASKS.items() if task.robot in ("panda", "panda_wristcam")
)
"""ManiSkill tasks whose robot is a Panda with its gripper."""
_FINGERS = Dimension("gripper", relative=False, gripper=OPENS_UP)


def _panda_joints(size: float, *, relative: bool) -> ActionConvention:
    """Seven joints and the fingers; `size` is radians of 1."""
    limit = 1.0 if relative else None
    joints = [Dimension(f"joint {n}", "rad", size, relative, limit) for n in range(1, 8)]
    return ActionConvention("Panda joints", (*joints, _FINGERS))


def _panda_position(size: float) -> ActionConvention:
    moved = [Dimension(name, "m", size, limit=1) for name in ("x", "y", "z")]
    return ActionConvention("Panda position", (*moved, _FINGERS))


# ManiSkill multiplies rotations by the lower end of their range, -0.1 rad, which turns the sign.
_PANDA_POSE = end_effector("Panda pose", 0.1, -0.1, OPENS_UP, "Euler xyz", limit=1)
CONTROLLERS: dict[str, ActionConvention] = {
    "pd_ee_delta_pose": _PANDA_POSE,
    "pd_ee_target_delta_pose": _PANDA_POSE,
    "pd_ee_pose": end_effector("Panda pose", 1, 1, OPENS_UP, "Euler xyz", relative=False),
    "pd_ee_delta_pos": _panda_position(0.1),
    "pd_ee_target_delta_pos": _panda_position(0.1),
    "pd_joint_delta_pos": _panda_joints(0.1, relative=True),
    "pd_joint_target_delta_pos": _panda_joints(0.1, relative=True),
    "pd_joint_pos": _panda_joints(1, relative=False),
}
"""`control_mode` of a Panda in ManiSkill -> what it takes."""
WIDOWX_MODE = "arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos"


def maniskill(task: str, control_mode: str) -> ActionConvention | None:
    """What a task of ManiSkill takes; None where it is not declared here."""
    if control_mode == WIDOWX_MODE:
        return WIDOWX
    return CONTROLLERS.get(control_mode) if task in PANDA_TASKS else None


def of_data_set(name: str, lowest: float, dimensions: int) -> ConventionName:
    """The convention of a model that was trained on a data set.

    Args:
        name: of the data set, as in the model's statistics.
        lowest: smallest number of its gripper. OpenVLA's data has 0 to 1; where it goes below, the
            numbers are those of the simulator that the data set was recorded in.
        dimensions: numbers in an action.
    """
    if lowest < -0.5 or dimensions != len(DATA_SETS["openvla"].dimensions):
        return "native"
    if "libero" in name:
        return "libero"
    return "bridge" if "bridge" in name else "openvla"
