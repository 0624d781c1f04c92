r"""One step of a flow from noise to an action, as pure functions.

Letters: B rows, H actions of the horizon, W numbers of an action with padding, N denoising steps.
Time t runs from 0 (noise) to 1 (action) in steps of d = 1/N. A network gives the velocity v of the
state x at t, which holds two estimates, of the noise and of the action::

    n = x - t v,    a = x + (1 - t) v

The deterministic step is x + d v = (1 - t - d) n + (t + d) a. A stochastic one draws the next
state from a Gaussian, so that it has a density. `flow_sde` is the stochastic differential equation
with the marginals of the flow (Liu et al. 2025, Flow-GRPO), `flow_cps` keeps the variance of
the noise (Wang and Yu 2025, Coefficients-Preserving Sampling), `learned` takes the deterministic
mean and a standard deviation from a network (Zhang et al. 2025, ReinFlow).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Transition(NamedTuple):
    """The Gaussian of the next state."""

    mean: Tensor  # [B, H, W] float32
    std: Tensor  # [B, H, W] or broadcastable, float32; 0 where the step is deterministic


def euler(x: Tensor, velocity: Tensor, steps: int) -> Tensor:
    """The deterministic step x + d v: [B, H, W]."""
    return x + velocity / steps


def flow_sde(x: Tensor, velocity: Tensor, step: Tensor, steps: int, level: Tensor) -> Transition:
    """The step of the SDE, with s = level sqrt((1 - t) / t) and standard deviation s sqrt(d).

    At t = 0 the denominator is d, as s would not be finite.

    Args:
        step: [B] int64, number i of the step; t = i / N.
        level: [B] float32, of the noise.
    """
    delta, t, level = _columns(step, steps, level)
    noise, action = _estimates(x, velocity, t)
    scale = level * ((1 - t) / torch.where(step.view(-1, 1, 1) == 0, delta, t)).sqrt()
    kept = 1 - t - delta - scale**2 * delta / (2 * (1 - t))
    return Transition(kept * noise + (t + delta) * action, scale * math.sqrt(delta))


def flow_cps(x: Tensor, velocity: Tensor, step: Tensor, steps: int, level: Tensor) -> Transition:
    """The step that replaces a part of the noise: cos^2 of it stays, sin^2 is new.

    The angle is pi/2 level. The last step has no noise left to replace: its deviation is 0.
    """
    delta, t, level = _columns(step, steps, level)
    noise, action = _estimates(x, velocity, t)
    last = step.view(-1, 1, 1) == steps - 1
    left = torch.where(last, torch.zeros_like(t), 1 - t - delta)
    angle = level * (math.pi / 2)
    return Transition(left * angle.cos() * noise + (t + delta) * action, left * angle.sin())


def learned(x: Tensor, velocity: Tensor, steps: int, std: Tensor) -> Transition:
    """The deterministic mean with a given standard deviation."""
    return Transition(euler(x, velocity, steps), std)


def learned_std(found: Tensor, low: float, high: float) -> Tensor:
    """The standard deviation of a network's numbers `found`, between `low` and `high`.

    The variance is interpolated on a logarithmic scale by (tanh + 1) / 2.
    """
    first, last = math.log(low**2), math.log(high**2)
    return (0.5 * (first + (last - first) * (found.tanh() + 1) / 2)).exp()


def _columns(step: Tensor, steps: int, level: Tensor) -> tuple[float, Tensor, Tensor]:
    """d, and t and level as [B, 1, 1] float32."""
    return 1 / steps, (step / steps).float().view(-1, 1, 1), level.view(-1, 1, 1)


def _estimates(x: Tensor, velocity: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Of the noise and of the action."""
    return x - t * velocity, x + (1 - t) * velocity
