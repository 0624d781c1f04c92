from __future__ import annotations

import numpy as np
import pytest
import torch

from rlinf.config.models import TinyVlaConfig
from rlinf.config.schema import ImitationConfig
from rlinf.data.random import Noise
from rlinf.imitation.demonstrations import Demonstrations
from rlinf.imitation.fit import batch_rows, fit
from rlinf.models.base import Sampling
from rlinf.models.loading import build_policy

CONFIG = TinyVlaConfig(
    model_type="tiny_vla", image_size=32, action_dim=2, num_action_chunks=1, width=32, num_heads=2
)


def brightness_task(samples: int) -> Demonstrations:
    """The brighter the picture, the larger the first action; the second is constant."""
    levels = np.linspace(0, 250, samples).astype(np.uint8)
    images = np.broadcast_to(levels[:, None, None, None, None], (samples, 1, 32, 32, 3)).copy()
    actions = np.stack([levels / 125.0 - 1.0, np.full(samples, 0.5)], axis=1).astype(np.float32)
    state = np.zeros((samples, 0), np.float32)
    values = np.ones(samples, np.float32)
    return Demonstrations(images, state, "look", actions[:, None], values, samples, 1.0)


def test_the_policy_learns_what_was_demonstrated():
    torch.set_num_threads(1)
    data = brightness_task(64)
    policy = build_policy(CONFIG, seed=0)
    settings = ImitationConfig(
        expert="test",
        num_demonstrations=64,
        steps=150,
        batch_size=32,
        lr=3e-3,
        label_smoothing_bins=4,
    )
    losses: list[float] = []
    fit(policy, data, settings, lambda step, loss: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    rows = np.arange(64)
    seen = data.observation(rows)
    chunk = policy.act(seen, Sampling(greedy=True), Noise(rows.astype(np.uint64)))
    assert np.abs(chunk.actions[:, 0, 0] - data.actions[:, 0, 0]).mean() < 0.25
    assert chunk.actions[:, 0, 1] == pytest.approx(0.5)  # no range, no token
    assert policy.live.tolist() == [True, False]


def test_every_pass_sees_every_sample_once_in_an_order_of_its_own():
    rows = np.concatenate([batch_rows(step, 4, 10, seed=1) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    assert np.array_equal(batch_rows(3, 4, 10, seed=1), rows[12:16])
