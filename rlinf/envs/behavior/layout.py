"""Pictures in the layout that BEHAVIOR's specification has."""

from __future__ import annotations

import numpy as np

from rlinf.data.types import Observation


def channel_first(shown: Observation) -> tuple[np.ndarray, np.ndarray]:
    """Head and wrist pictures with channels first; the pixels stay where they are.

    Args:
        shown: an observation with the views `main`, `left_wrist` and `right_wrist`, in this order.

    Returns:
        Views of its images: head [B, 3, H, W] and wrists [B, 2, 3, H, W] (left, right), uint8.
    """
    channels = np.moveaxis(shown.images, -1, 2)
    assert channels.shape[1] == 3, "the views are main, left_wrist and right_wrist"
    return channels[:, 0], channels[:, 1:]
