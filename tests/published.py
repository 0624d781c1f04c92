"""Actions as published models emit them: through tokens, and in the units of their data set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from rlinf.data.conventions import ActionConvention, conversion
from rlinf.models.openvla.config import OpenVlaConfig
from rlinf.models.openvla.policy import OpenVlaPolicy
from rlinf.models.prismatic import random_weights
from tests.tiny_openvla import SETTINGS

STATISTICS = {
    # openvla-7b's; metres, radians, and the gripper's own number.
    "bridge_orig": {
        "q01": [-0.028727, -0.041703, -0.026094, -0.080921, -0.092887, -0.207183, 0.0],
        "q99": [0.028310, 0.040855, 0.040162, 0.081920, 0.077929, 0.203826, 1.0],
    },
    # Of the size of those of OpenVLA's models of LIBERO-Spatial.
    "libero_spatial_no_noops": {
        "q01": [-0.75, -0.66, -0.94, -0.11, -0.21, -0.18, 0.0],
        "q99": [0.94, 0.88, 0.93, 0.10, 0.18, 0.15, 1.0],
    },
}


class PublishedModel:
    """A policy whose tokens decode as those of a model that was trained on a data set."""

    def __init__(self, folder: Path, data_set: str) -> None:
        random_weights.write_folder(folder, SETTINGS, 7, "unused")
        action = {**STATISTICS[data_set], "mask": [True] * 6 + [False]}
        content = {data_set: {"action": action}}
        (folder / "dataset_statistics.json").write_text(json.dumps(content))
        self.config = OpenVlaConfig(
            model_type="openvla", model_path=str(folder), unnorm_key=data_set, precision="fp32"
        )
        self.policy = OpenVlaPolicy(self.config)

    def emit(self, wanted: np.ndarray, takes: ActionConvention | None) -> np.ndarray:
        """The action [7] that `Policy.decode` gives for the tokens nearest to a native action."""
        given = conversion(takes, self.config.emits())(np.asarray(wanted, np.float32))
        tokens = torch.from_numpy(self.policy.scale.encode(given))
        emitted: np.ndarray = self.policy.decode(tokens).numpy()
        return emitted

    def received(self, emitted: np.ndarray, takes: ActionConvention | None) -> np.ndarray:
        """What the simulator gets of it."""
        return conversion(self.config.emits(), takes)(emitted)
