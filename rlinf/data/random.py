"""Random numbers as a pure function of where they are used.

A draw belongs to (seed, step, env, ...), not to a generator that other draws advanced: merging,
splitting, resuming or re-ordering requests changes nothing. The mixer is SplitMix64 (Steele,
Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, fig. 17).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)


def _mix(x: np.ndarray) -> np.ndarray:
    """SplitMix64's output function, elementwise on uint64 (arithmetic modulo 2**64)."""
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    return x ^ (x >> np.uint64(31))


def derive(*parts: ArrayLike) -> np.ndarray:
    """A uint64 key for each combination of the parts, which broadcast against each other."""
    key = np.zeros(1, np.uint64)
    for part in parts:
        key = _mix((key ^ np.asarray(part).astype(np.uint64)) + _GOLDEN)
    return key if any(np.ndim(p) for p in parts) else key.reshape(())


def seed31(*parts: ArrayLike) -> np.ndarray:
    """A key as simulators want it: int64 in [0, 2**31)."""
    return (derive(*parts) >> np.uint64(33)).astype(np.int64)


def distinct(count: int, bound: int, *parts: int) -> np.ndarray:
    """`count` different numbers below `bound`, in random order: [count] int64.

    Fewer numbers of the same parts are the first of these.
    """
    assert count <= bound
    found = np.zeros(0, np.uint64)
    drawn = 0
    while len(found) < count:
        block = derive(*parts, drawn + np.arange(2 * count)) % np.uint64(bound)
        drawn += len(block)
        found = np.concatenate([found, block])
        _, first = np.unique(found, return_index=True)
        found = found[np.sort(first)]
    return found[:count].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Noise:
    """The random numbers of B rows, each row from its own key."""

    keys: np.ndarray  # [B] uint64

    def uniform(self, *shape: int) -> np.ndarray:
        """[B, *shape] float64, in the open interval (0, 1)."""
        count = np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64)
        bits = _mix(self.keys[:, None] + count * _GOLDEN) >> np.uint64(12)
        return ((bits.astype(np.float64) + 0.5) * 2.0**-52).reshape(len(self.keys), *shape)
