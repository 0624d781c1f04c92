"""How long an iteration takes, from measurements of two or more small ones. Pure functions.

An iteration is rollout, update and the rest, one after the other (`runner.mode: sync`)::

    rollout = T R (a + b E)       T chunk steps, R rollout epochs, E sub-envs
    update  = u (c m' + d n)      u update epochs, m' micro-batches of a rank, n its samples
    rest                          weights to the policy, advantages

a is what a chunk step costs however many sub-envs there are, c what a micro-batch costs however
large it is, its part of the optimizer step included. Stages, placement and offload change all of
them, so each choice of these is measured for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Size(NamedTuple):
    """How much an iteration does."""

    chunk_steps: int  # T R
    envs: int  # E
    micro_batches: int  # of a rank, over all update epochs
    samples: int  # of a rank, over all update epochs


class Measured(NamedTuple):
    """One iteration."""

    size: Size
    env_steps: int  # that the sub-envs executed
    rollout: float  # seconds
    update: float
    rest: float


class Speed(NamedTuple):
    """What the parts of an iteration take, in seconds."""

    chunk_step: float  # a
    env_chunk: float  # b
    micro_batch: float  # c
    sample: float  # d
    rest: float
    executed: float  # env steps for each chunk step of each sub-env

    def seconds(self, size: Size) -> tuple[float, float, float]:
        """Rollout, update and rest of an iteration."""
        rollout = size.chunk_steps * (self.chunk_step + self.env_chunk * size.envs)
        update = self.micro_batch * size.micro_batches + self.sample * size.samples
        return rollout, update, self.rest

    def env_steps_per_second(self, size: Size) -> float:
        """Env steps of an iteration over its seconds."""
        steps = self.executed * size.chunk_steps * size.envs
        return steps / sum(self.seconds(size))


def fit(measured: Sequence[Measured]) -> Speed:
    """The speed that fits the measurements best, no part of it negative.

    Args:
        measured: at least one; with one all costs are put on sub-envs and samples.
    """
    sizes = [one.size for one in measured]
    chunk_step, env_chunk = _costs(
        [(s.chunk_steps, s.chunk_steps * s.envs) for s in sizes], [m.rollout for m in measured]
    )
    micro_batch, sample = _costs(
        [(s.micro_batches, s.samples) for s in sizes], [m.update for m in measured]
    )
    executed = sum(m.env_steps for m in measured) / sum(s.chunk_steps * s.envs for s in sizes)
    rest = sum(m.rest for m in measured) / len(measured)
    return Speed(chunk_step, env_chunk, micro_batch, sample, rest, executed)


def _costs(counts: Sequence[tuple[float, float]], seconds: Sequence[float]) -> tuple[float, float]:
    """The two costs, not negative, whose sums are nearest to the seconds, relative to them.

    Least squares with two unknowns: where the free solution has a negative one, the best is on an
    edge, that is with one of them 0.
    """
    scaled = np.array(counts, float) / np.array(seconds, float)[:, None]
    target = np.ones(len(seconds))
    candidates = []
    if np.linalg.matrix_rank(scaled) == 2:
        candidates.append(np.linalg.lstsq(scaled, target)[0])
    for index in (1, 0):
        column = scaled[:, index]
        cost = np.zeros(2)
        cost[index] = column @ target / (column @ column)
        candidates.append(cost)
    able = [cost for cost in candidates if (cost >= 0).all()]
    first, second = min(able, key=lambda cost: float(((scaled @ cost - target) ** 2).sum()))
    return float(first), float(second)
