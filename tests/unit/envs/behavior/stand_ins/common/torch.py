"""The one function of torch that the adapter calls."""

from __future__ import annotations

import numpy as np
from omnigibson.world import Tensor


def as_tensor(values):
    return Tensor(np.array(values))
