"""Imitation: the policy learns the demonstrated actions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from rlinf.algorithms.schedule import learning_rate_factor
from rlinf.config.schema import ImitationConfig
from rlinf.data.random import derive
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.models.base import ImitablePolicy

WARMUP_STEPS = 30


def fit(
    policy: ImitablePolicy,
    demonstrations: Demonstrations,
    settings: ImitationConfig,
    on_step: Callable[[int, float], None],
) -> None:
    """Trains all weights, the critic on the demonstrations' returns.

    Args:
        on_step: gets the number of steps made and the loss, after each.
    """
    policy.set_action_statistics(demonstrations.action_statistics())
    optimizer = torch.optim.AdamW(policy.parameters(), lr=settings.lr)
    policy.train()
    for step in range(settings.steps):
        rows = batch_rows(step, settings.batch_size, len(demonstrations), settings.seed)
        factor = learning_rate_factor(step, WARMUP_STEPS, settings.steps, "cosine", 0.0)
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * factor
        optimizer.zero_grad(set_to_none=True)
        learned = policy.imitate(
            demonstrations.observation(rows),
            demonstrations.actions[rows],
            demonstrations.values[rows],
            settings.label_smoothing_bins,
        )
        loss = learned.token_loss.mean()
        if learned.value_loss.numel():
            loss = loss + learned.value_loss.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        on_step(step + 1, float(loss.detach()))
    policy.eval()


def batch_rows(step: int, size: int, samples: int, seed: int) -> np.ndarray:
    """Rows of batch `step` ([size] int64): every pass over the samples has an order of its own."""
    positions = np.arange(step * size, (step + 1) * size)
    passes, places = np.divmod(positions, samples)
    rows = np.empty(size, np.int64)
    for index in np.unique(passes):
        order = np.argsort(derive(seed, index, np.arange(samples)), kind="stable")
        here = passes == index
        rows[here] = order[places[here]]
    return rows
