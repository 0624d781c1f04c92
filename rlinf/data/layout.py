"""The only reshapes: from trajectories [T, B, ...] to samples [N, ...], and how samples are dealt.

::

    list[Trajectory] --concatenate--> Rollout[T, B] --flatten--> TrainBatch[N]
    TrainBatch --minibatches--> rows of each update --micro_batches--> rows of each forward pass
    (objects, rows) --ObservationTable.take--> Observation
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rlinf.data.random import derive
from rlinf.data.types import Observation, TrainBatch, Trajectory, take_sampled

_PER_ENV_AND_CHUNK = (
    "rows",
    "logprobs",
    "values",
    "rewards",
    "terminated",
    "truncated",
    "valid",
    "final_values",
)


@dataclass(frozen=True, slots=True)
class Rollout:
    """All envs of an iteration side by side: workers x stages x rollout epochs."""

    observations: list[Any]  # references of all trajectories, one after the other
    objects: np.ndarray  # [T, B] int64, which of `observations` env b saw in chunk t; -1: none
    steps: Trajectory  # the arrays, along B; its own `observations` are empty


def by_epoch(trajectories: Sequence[Trajectory], epochs: int) -> list[Trajectory]:
    """Trajectories of all rollout epochs of one stage after the other, epoch by epoch instead.

    Then samples have the same order however the envs are split over workers and stages.
    """
    return [one for first in range(epochs) for one in trajectories[first::epochs]]


def concatenate(trajectories: Sequence[Trajectory]) -> Rollout:
    """Puts trajectories of T chunks each side by side, in their order; groups stay together."""
    references: list[Any] = []
    parts = []
    for trajectory in trajectories:
        seen = trajectory.objects.astype(np.int64)
        parts.append(np.where(seen >= 0, len(references) + seen, -1))
        references.extend(trajectory.observations)
    versions = {t.version for t in trajectories}
    assert len(versions) == 1, f"weights {sorted(versions)} acted in one iteration"
    arrays = {
        name: np.concatenate([getattr(t, name) for t in trajectories], axis=1)
        for name in _PER_ENV_AND_CHUNK
    }
    objects = np.concatenate(parts, axis=1)
    sampled = {
        name: np.concatenate([t.sampled[name] for t in trajectories], axis=1)
        for name in trajectories[0].sampled
    }
    steps = Trajectory(
        observations=[],
        objects=objects,
        sampled=sampled,
        next_values=np.concatenate([t.next_values for t in trajectories]),
        episodes=tuple(episode for t in trajectories for episode in t.episodes),
        version=versions.pop(),
        **arrays,
    )
    return Rollout(references, objects, steps)


def flatten(
    rollout: Rollout,
    advantages: np.ndarray,
    returns: np.ndarray,
    mask: np.ndarray,
    weights: np.ndarray,
    chunk_weights: np.ndarray,
    *,
    trained: np.ndarray,
    planned: int,
) -> TrainBatch:
    """The chunks with at least one action that counts, in order of time, then env.

    Args:
        advantages: [T, B, K] float32.
        returns: [T, B, K] float32, or [T, B, 0] without a critic.
        mask: [T, B, C] bool, actions that are trained on.
        weights: [T, B, C] float32, 0 outside the mask.
        chunk_weights: [T, B, 1] float32.
        trained: [T, B] bool, chunks whose loss has a gradient.
        planned: samples that the configuration counts on.
    """
    keep = mask.any(axis=-1)
    steps = rollout.steps
    return TrainBatch(
        observations=rollout.observations,
        objects=rollout.objects[keep],
        rows=steps.rows[keep].astype(np.int64),
        sampled=take_sampled(steps.sampled, keep),
        logprobs=steps.logprobs[keep],
        advantages=advantages[keep],
        returns=returns[keep],
        values=steps.values[keep],
        mask=mask[keep],
        weights=weights[keep],
        chunk_weights=chunk_weights[keep],
        trained=trained[keep],
        planned=planned,
        version=steps.version,
    )


def minibatches(
    planned: int, count: int, global_batch_size: int, *seed_parts: ArrayLike
) -> list[np.ndarray]:
    """Rows of each update of one pass over the samples, in an order drawn from the seed parts.

    There are `planned / global_batch_size` updates even where samples were left out, so that the
    schedule does not depend on luck; sizes differ by at most one. No update is empty: without
    samples there is none.

    Args:
        planned: samples that the configuration counts on.
        count: samples there are.
        seed_parts: seed, iteration, update epoch.

    Returns:
        [n] int64 arrays that partition 0..count-1.
    """
    if count == 0:
        return []
    order = np.argsort(derive(*seed_parts, np.arange(count)), kind="stable")
    updates = max(planned // global_batch_size, 1)
    return np.array_split(order, min(updates, count))


def micro_batches(
    minibatch: np.ndarray, rank: int, ranks: int, micro_batch_size: int
) -> list[np.ndarray]:
    """A rank's contiguous share of a minibatch, in pieces of at most `micro_batch_size` rows.

    Every rank gets equally many pieces, since ranks compute each forward pass together; where a
    share is one row smaller than another's, a piece may be empty. With one rank none is.
    """
    largest_share = -(-len(minibatch) // ranks)
    pieces = -(-largest_share // micro_batch_size)
    share = np.array_split(minibatch, ranks)[rank]
    return np.array_split(share, pieces) if pieces else []


class ObservationTable:
    """Rows of many observations, gathered object by object with no copy of the others."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        """
        Args:
            observations: what the references of a `TrainBatch` stand for, in their order.
        """
        self._observations = observations
        codes: dict[str, int] = {}
        self._codes = [
            np.array([codes.setdefault(text, len(codes)) for text in o.instructions], np.int64)
            for o in observations
        ]
        self._texts = tuple(codes)

    def take(self, objects: np.ndarray, rows: np.ndarray) -> Observation:
        """Row `rows[i]` of observation `objects[i]` for each i; [n] int64 both."""
        first = self._observations[0]
        images = np.empty((len(rows), *first.images.shape[1:]), first.images.dtype)
        state = np.empty((len(rows), *first.state.shape[1:]), first.state.dtype)
        codes = np.empty(len(rows), np.int64)
        order = np.argsort(objects, kind="stable")
        present, starts = np.unique(objects[order], return_index=True)
        bounds = pairwise([*starts.tolist(), len(order)])
        for index, (start, stop) in zip(present.tolist(), bounds, strict=True):
            here = order[start:stop]
            source, wanted = self._observations[index], rows[here]
            images[here] = source.images[wanted]
            state[here] = source.state[wanted]
            codes[here] = self._codes[index][wanted]
        return Observation(images, state, tuple(self._texts[code] for code in codes.tolist()))
