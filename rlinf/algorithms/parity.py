"""Whether learner and rollout agree on the probability of the same actions (torch).

The rollout's log-probs are the denominator of every ratio. Where the learner computes others with
the same weights, the ratio is wrong from the first update on, and nothing else would tell.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from rlinf.algorithms.levels import entries


class Mismatch(NamedTuple):
    """Differences |new - old| of the log-probs of live tokens of executed actions."""

    mean: float
    largest: float
    tokens: int  # that were compared

    def exceeds(self, tolerance: float) -> bool:
        """Whether the mean is above the tolerance, or not a number."""
        return not self.mean <= tolerance

    def describe(self) -> str:
        """What a user should know of a mismatch that is too large."""
        return (
            "learner and rollout disagree on the probability of the same actions: log-probs "
            f"differ by {self.mean:.3g} in the mean and {self.largest:.3g} at most, over "
            f"{self.tokens} tokens"
        )


def mismatch(new: Tensor, old: Tensor, mask: Tensor, live: Tensor) -> Mismatch:
    """Compares log-probs of the same weights.

    Args:
        new: [n, C, A] of the learner.
        old: [n, C, A] of the rollout.
        mask: [n, C] bool, actions that count.
        live: [A] bool, dimensions that reach the simulator.
    """
    counted = entries(mask, live, "token").expand_as(new)
    difference = (new - old).abs()[counted].double()
    if not len(difference):
        return Mismatch(0.0, 0.0, 0)
    return Mismatch(float(difference.mean()), float(difference.max()), len(difference))
