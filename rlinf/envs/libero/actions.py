"""What robosuite's controller takes in LIBERO; the types are in `data/conventions.py`."""

from __future__ import annotations

from rlinf.data.conventions import Gripper, end_effector

ROBOSUITE_GRIPPER = Gripper(open=-1, closed=1, hold=0)
"""robosuite: the direction in which the fingers go."""
ROBOSUITE_OSC_POSE = end_effector(
    "robosuite OSC_POSE", 0.05, 0.5, ROBOSUITE_GRIPPER, "axis-angle", limit=1
)
