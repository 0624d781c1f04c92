"""Learning-rate schedules as a factor on the base rate."""

from __future__ import annotations

import math
from typing import Literal


def warmup_updates(steps: int, share: float, total: int) -> int:
    """Optimizer steps of warm-up: `steps`, or that share of `total` where `steps` is negative."""
    return round(share * total) if steps < 0 else steps


def learning_rate_factor(
    update: int,
    warmup: int,
    total: int,
    style: Literal["constant", "cosine"],
    min_ratio: float,
) -> float:
    """Factor on the learning rate of optimizer step `update`, counted from 0.

    Linear warm-up reaches 1 at step `warmup`; then it stays, or falls on a half cosine that
    reaches `min_ratio` at step `total` (Loshchilov & Hutter 2017, SGDR, eq. 5 without restarts).
    """
    if update < warmup:
        return (update + 1) / (warmup + 1)
    if style == "constant":
        return 1.0
    progress = min((update - warmup) / max(total - warmup, 1), 1.0)
    return min_ratio + (1.0 - min_ratio) * 0.5 * (1.0 + math.cos(math.pi * progress))
