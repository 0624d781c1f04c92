"""What the controllers of ManiSkill's robots take; the types are in `data/conventions.py`."""

from __future__ import annotations

from rlinf.data.conventions import ActionConvention, Dimension, Gripper, end_effector
from rlinf.envs.maniskill.tasks import TASKS

OPENS_UP = Gripper(open=1, closed=-1)
"""ManiSkill: the width of a gripper, in -1..1."""
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


def taken(task: str, control_mode: str) -> ActionConvention | None:
    """What a task of ManiSkill takes; None where it is not declared here."""
    if control_mode == WIDOWX_MODE:
        return WIDOWX
    return CONTROLLERS.get(control_mode) if task in PANDA_TASKS else None
