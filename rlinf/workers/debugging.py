"""A batch that could not be trained on, written so that the reason can be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rlinf.data.types import Observation, TrainBatch

_ARRAYS = (
    *("logprobs", "advantages", "returns", "values"),
    *("mask", "weights", "chunk_weights"),
)


def keep_batch(path: Path, batch: TrainBatch, seen: Observation, rows: np.ndarray) -> str:
    """Writes the samples `rows` ([n] int64) as an npz file; says where it is, or why it is not.

    The arrays have the names of `TrainBatch`, those of `sampled` as `sampled_NAME`; `images`,
    `state` and `instructions` are what the policy saw, `seen`.
    """
    arrays = {name: getattr(batch, name)[rows] for name in _ARRAYS}
    arrays |= {f"sampled_{name}": array[rows] for name, array in batch.sampled.items()}
    try:
        np.savez(
            path,
            images=seen.images,
            state=seen.state,
            instructions=np.array(seen.instructions),
            **arrays,
        )
    except OSError as error:
        return f"its samples could not be kept: {error}"
    return f"its samples are in {path}"
