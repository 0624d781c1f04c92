"""What models in the layout of openvla/openvla-7b emit, by the data set they learned from.

The types and the conversion are in `data/conventions.py`.
"""

from __future__ import annotations

from typing import Literal

from rlinf.data.conventions import ActionConvention, Gripper, end_effector

OPENVLA_GRIPPER = Gripper(open=1, closed=0)
"""Of the data that OpenVLA was trained on (Open X-Embodiment as its loader makes it equal)."""

ConventionName = Literal["openvla", "bridge", "libero", "native"]
DATA_SETS: dict[ConventionName, ActionConvention] = {
    "openvla": end_effector("openvla", None, None, OPENVLA_GRIPPER),
    "bridge": end_effector("bridge", 1, 1, OPENVLA_GRIPPER, "Euler xyz"),
    "libero": end_effector("libero", 0.05, 0.5, OPENVLA_GRIPPER, "axis-angle"),
}
"""What models emit that learned from a data set in OpenVLA's form: any, BridgeData V2, LIBERO."""


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
