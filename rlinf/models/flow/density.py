"""Log-probs and entropy of what a flow draws, and the noise of its training.

The log-prob of a chunk is that of the transitions which were drawn, cut to the actions that are
executed and to the numbers that reach the simulator. What the cut leaves out, later actions of the
horizon and padded numbers, is drawn too and influences the executed ones through the steps that
follow: the log-prob is that of the cut transition given the whole state before it, not of the
executed actions. All published RL on these models makes this cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rlinf.models.flow.steps import Transition

_LOG_ROOT = 0.5 * math.log(2 * math.pi)


def log_prob(reached: Tensor, step: Transition) -> Tensor:
    """Of each number of the next state `reached`; 0 where the step is deterministic."""
    std = step.std.expand_as(reached)
    drawn = std > 0
    safe = torch.where(drawn, std, torch.ones_like(std))  # no NaN in the backward pass either
    found = -0.5 * ((reached - step.mean) / safe) ** 2 - safe.log() - _LOG_ROOT
    return torch.where(drawn, found, torch.zeros_like(found))


def log_prob_of_start(noise: Tensor) -> Tensor:
    """Of each number of the state that a chain starts from, a standard normal."""
    return -0.5 * noise**2 - _LOG_ROOT


def joint(terms: Sequence[Tensor]) -> Tensor:
    """The log-prob of a whole chain per term: the mean over its transitions and its start.

    A mean, not a sum, so that a ratio clips at the same distance as with one transition.
    """
    return torch.stack(list(terms)).mean(dim=0)


def entropy(std: Tensor) -> Tensor:
    """Of each number's Gaussian, in nats; 0 where it is deterministic, as nothing is drawn."""
    drawn = std > 0
    safe = torch.where(drawn, std, torch.ones_like(std))
    return torch.where(drawn, 0.5 + _LOG_ROOT + safe.log(), torch.zeros_like(std))


def noise_level(levels: tuple[float, float], updates: int, version: int) -> float:
    """The level of the noise after `version` updates: from the first to the last, in a line.

    Args:
        updates: until the last level; 0 keeps the first.
    """
    if updates == 0:
        return levels[0]
    done = min(version / updates, 1.0)
    return levels[0] + (levels[1] - levels[0]) * done


def draw_step(uniform: Tensor, steps: int) -> Tensor:
    """Which of the first `steps` steps is stochastic: [B] int64 for uniform numbers [B]."""
    return (uniform * steps).long().clamp(max=steps - 1)


def training_time(uniform: Tensor, alpha: float, beta: float, scale: float) -> Tensor:
    """Times at which the velocity is learned: (scale - b) / scale with b ~ Beta(alpha, beta).

    They lie near 0, where little of the action is visible, and can fall below 0 by 1 - 1/scale.
    Only beta = 1 has an inverse in closed form, b = u^(1/alpha); models have no other.
    """
    assert beta == 1, "checked when the folder was read"
    return (scale - uniform ** (1 / alpha)) / scale


def interpolate(action: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """The state (1 - t) noise + t action at times [B]."""
    t = time.view(-1, 1, 1)
    return (1 - t) * noise + t * action
