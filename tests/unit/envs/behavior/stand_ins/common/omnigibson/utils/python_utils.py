from __future__ import annotations

import numpy as np

from omnigibson.world import Tensor


def recursively_convert_to_torch(state):
    if isinstance(state, dict):
        return {name: recursively_convert_to_torch(part) for name, part in state.items()}
    if isinstance(state, list) and state and isinstance(state[0], dict):
        return [recursively_convert_to_torch(part) for part in state]
    return Tensor(np.array(state, np.float32)) if isinstance(state, list) else state
