"""The only reshapes: from trajectories [T, B, ...] to samples [N, ...], and how samples are dealt.

::

    list[Trajectory] --concatenate--> Rollout[T, B] --flatten--> TrainBatch[N]
    TrainBatch --minibatches--> rows of each update --deal--> those of each rank
        --micro_batches--> rows of each forward pass
    (objects, rows) --ObservationTable.take--> Observation
"""

from __future__ import annotations

from collections import Counter
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

    observations: list[Any]  # [K] references, one of each trajectory
    nodes: list[int]  # [K], where they lie
    objects: np.ndarray  # [T, B] int64, which of `observations` env b saw in chunk t; -1: none
    steps: Trajectory  # the arrays, along B; its own `observation` is None


def by_epoch(trajectories: Sequence[Trajectory], epochs: int) -> list[Trajectory]:
    """Trajectories of all rollout epochs of one stage after the other, epoch by epoch instead.

    Then samples have the same order however the envs are split over workers and stages.
    """
    return [one for first in range(epochs) for one in trajectories[first::epochs]]


def concatenate(trajectories: Sequence[Trajectory]) -> Rollout:
    """Puts trajectories of T chunks each side by side, in their order; groups stay together."""
    versions = {t.version for t in trajectories}
    assert len(versions) == 1, f"weights {sorted(versions)} acted in one iteration"
    arrays = {
        name: np.concatenate([getattr(t, name) for t in trajectories], axis=1)
        for name in _PER_ENV_AND_CHUNK
    }
    parts = [np.where(t.rows >= 0, index, -1) for index, t in enumerate(trajectories)]
    sampled = {
        name: np.concatenate([t.sampled[name] for t in trajectories], axis=1)
        for name in trajectories[0].sampled
    }
    steps = Trajectory(
        observation=None,
        sampled=sampled,
        next_values=np.concatenate([t.next_values for t in trajectories]),
        episodes=tuple(episode for t in trajectories for episode in t.episodes),
        version=versions.pop(),
        node=0,  # each has its own, in `nodes`
        **arrays,
    )
    return Rollout(
        observations=[t.observation for t in trajectories],
        nodes=[t.node for t in trajectories],
        objects=np.concatenate(parts, axis=1).astype(np.int64),
        steps=steps,
    )


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
        nodes=rollout.nodes,
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


def homes(nodes: Sequence[int], counts: np.ndarray, ranks: Sequence[int]) -> np.ndarray:
    """The node whose ranks read each observation in place: [K] int64.

    It is the node where the observation lies, as far as the balance allows. Whole observations go
    to another node where the ranks of theirs have more samples than their part without them, which
    is so for all of a node without ranks.

    Args:
        nodes: [K], where each observation lies.
        counts: [K] int64, samples of each that are trained on.
        ranks: node of each rank.
    """
    found = np.array(nodes, np.int64)
    part = counts.sum() / len(ranks)
    room = {node: ranks.count(node) * part for node in sorted(set(ranks))}
    for node, count in zip(nodes, counts.tolist(), strict=True):
        if node in room:
            room[node] -= count
    for index, (node, count) in enumerate(zip(nodes, counts.tolist(), strict=True)):
        if node not in room or (count and room[node] <= -count):
            other = max(room, key=lambda one: room[one])  # the first of those with the most
            found[index] = other
            room[other] -= count
            if node in room:
                room[node] += count
    return found


def deal(
    minibatch: np.ndarray, ranks: Sequence[int], homes: np.ndarray | None = None
) -> list[np.ndarray]:
    """The rows of a minibatch ([n] int64) for each rank, in equal shares.

    A row goes to a rank of the node that is its home, as long as these have room; the others fill
    what is free. On one node shares are contiguous. What is dealt to whom changes sums over ranks
    in the last bits only.

    Args:
        ranks: node of each rank.
        homes: [n] int64, the home of each row; None: all are equally near.

    Returns:
        [n / ranks] int64 arrays that partition the minibatch, in its order each.
    """
    shares = np.array_split(minibatch, len(ranks))
    if homes is None or len(set(ranks)) == 1:
        return shares
    room: Counter[int] = Counter()
    for node, share in zip(ranks, shares, strict=True):
        room[node] += len(share)
    computes = np.full(len(minibatch), -1, np.int64)  # which node each row is dealt to
    for node, size in room.items():
        near = np.flatnonzero(homes == node)[:size]
        computes[near] = node
        room[node] -= len(near)
    computes[computes < 0] = list(room.elements())
    left = {node: minibatch[computes == node] for node in room}
    dealt = []
    for node, share in zip(ranks, shares, strict=True):
        dealt.append(left[node][: len(share)])
        left[node] = left[node][len(share) :]
    return dealt


def micro_batches(share: np.ndarray, largest: int, micro_batch_size: int) -> list[np.ndarray]:
    """A rank's share of a minibatch, in pieces of at most `micro_batch_size` rows.

    Every rank gets equally many pieces, since ranks compute each forward pass together; where a
    share is one row smaller than another's, a piece may be empty. With one rank none is.

    Args:
        share: [n] int64 rows.
        largest: rows of the rank with the most.
    """
    pieces = -(-largest // micro_batch_size)
    return np.array_split(share, pieces) if pieces else []


class ObservationTable:
    """Rows of many observations, gathered object by object with no copy of the others."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        """
        Args:
            observations: what the references of a `TrainBatch` stand for, in their order.
        """
        self._observations: list[Observation] = []
        self._codes: list[np.ndarray] = []  # of the text of each row
        self._texts: dict[str, int] = {}
        self.replace_from(0, observations)

    def replace_from(self, index: int, observations: Sequence[Observation]) -> None:
        """From `index` on, the table has these observations."""
        codes = self._texts
        self._observations[index:] = observations
        self._codes[index:] = [
            np.array([codes.setdefault(text, len(codes)) for text in o.instructions], np.int64)
            for o in observations
        ]

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
        texts = list(self._texts)
        return Observation(images, state, tuple(texts[code] for code in codes.tolist()))
