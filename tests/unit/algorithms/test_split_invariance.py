"""An update is the same however its samples are split, and whether masked ones are there or not."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from rlinf.algorithms.losses import LossSettings, Samples, denominators, minibatch_loss
from rlinf.data.layout import deal, micro_batches
from rlinf.data.types import TrainBatch, take_sampled
from rlinf.metrics.types import Metrics

N, C, A = 29, 4, 3
LIVE = torch.tensor([True, False, True])
LEVELS = [  # reward_type, logprob_type: all pairs that are allowed
    ("chunk", "token"),
    ("chunk", "action"),
    ("chunk", "chunk"),
    ("action", "token"),
    ("action", "action"),
]


@dataclass
class Evaluated:
    logprobs: Tensor
    entropy: Tensor
    values: Tensor
    without_noise: Tensor | None = None


def settings(reward_type: str, logprob_type: str, loss_type: str) -> LossSettings:
    return LossSettings(
        loss_type=loss_type,
        reward_type=reward_type,
        logprob_type=logprob_type,
        entropy_type=logprob_type,
        clip_ratio_low=0.2,
        clip_ratio_high=0.28,
        clip_ratio_c=1.5,
        value_clip=0.2,
        huber_delta=0.5,
        entropy_bonus=0.1,
        kl_beta=0.05,
        kl_penalty="k3",
    )


def random_batch(entries: int, seed: int = 0) -> TrainBatch:
    """N samples in float64, some of whose actions and some of which are masked as a whole."""
    rng = np.random.default_rng(seed)
    mask = np.arange(C) < rng.integers(0, C + 1, (N, 1))
    return TrainBatch(
        observations=[],
        nodes=[],
        objects=np.zeros(N, np.int64),
        rows=np.arange(N),
        sampled={"draw": rng.normal(size=(N, C, A))},
        logprobs=rng.normal(size=(N, C, A)),
        advantages=rng.normal(size=(N, entries)),
        returns=rng.normal(size=(N, entries)),
        values=rng.normal(size=(N, entries)),
        mask=mask,
        weights=np.where(mask, rng.uniform(1, 5, (N, 1)), 0.0),
        chunk_weights=np.where(mask.any(axis=1, keepdims=True), rng.uniform(1, 5, (N, 1)), 0.0),
        trained=mask.any(axis=1),
        planned=N,
        version=0,
    )


def evaluate(batch: TrainBatch, rows: np.ndarray, weight: Tensor) -> Evaluated:
    """A policy of three parameters that reads each sample's own draw."""
    sampled, old = (
        torch.from_numpy(batch.sampled["draw"][rows]),
        torch.from_numpy(batch.logprobs[rows]),
    )
    return Evaluated(
        old + weight[0] * sampled,
        (1.0 + weight[1] * sampled).square(),
        torch.from_numpy(batch.values[rows]) + weight[2] * sampled.mean(dim=(1, 2))[:, None],
    )


def update(
    batch: TrainBatch, chosen: LossSettings, minibatch: np.ndarray, ranks: int, micro: int
) -> tuple[float, Tensor, dict[str, float]]:
    """Loss, gradient and metrics of a minibatch that ranks and micro-batches share."""
    weight = torch.tensor([0.4, 0.3, 0.2], dtype=torch.float64, requires_grad=True)
    over = denominators(batch, minibatch, LIVE, chosen)
    total, parts = 0.0, []
    for share in deal(minibatch, [0] * ranks):
        for rows in micro_batches(share, -(-len(minibatch) // ranks), micro):
            loss, metrics = minibatch_loss(
                evaluate(batch, rows, weight),
                Samples.take(batch, rows, "cpu"),
                LIVE,
                chosen,
                over,
                reference_logprobs=torch.from_numpy(batch.logprobs[rows]),
            )
            loss.backward()
            total += float(loss.detach())
            parts.append(metrics)
    assert weight.grad is not None
    return total, weight.grad, Metrics.merge(parts).reduce()


def assert_same(one, other) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-12, abs=1e-12)
    torch.testing.assert_close(one[1], other[1], rtol=1e-12, atol=1e-12)
    assert one[2] == pytest.approx(other[2], rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("loss_type", ["actor_critic", "actor"])
@pytest.mark.parametrize(("reward_type", "logprob_type"), LEVELS)
def test_loss_gradient_and_metrics_do_not_depend_on_the_split(reward_type, logprob_type, loss_type):
    batch = random_batch(1 if reward_type == "chunk" else C)
    chosen = settings(reward_type, logprob_type, loss_type)
    minibatch = np.random.default_rng(1).permutation(N)
    at_once = update(batch, chosen, minibatch, ranks=1, micro=N)
    assert (at_once[1] != 0).tolist() == [True, True, loss_type == "actor_critic"]
    for ranks, micro in [(1, 1), (1, 7), (2, 4), (3, 5), (8, 2), (40, 1)]:
        assert_same(update(batch, chosen, minibatch, ranks, micro), at_once)


@pytest.mark.parametrize("loss_type", ["actor_critic", "actor"])
@pytest.mark.parametrize(("reward_type", "logprob_type"), LEVELS)
def test_dropping_masked_samples_changes_nothing(reward_type, logprob_type, loss_type):
    batch = random_batch(1 if reward_type == "chunk" else C)
    keep = batch.mask.any(axis=1)
    assert 0 < keep.sum() < N
    arrays = {f.name: getattr(batch, f.name) for f in fields(batch)}
    shorter = {n: a[keep] for n, a in arrays.items() if isinstance(a, np.ndarray)}
    kept = replace(batch, **shorter, sampled=take_sampled(batch.sampled, keep))
    chosen = settings(reward_type, logprob_type, loss_type)
    assert_same(
        update(kept, chosen, np.arange(len(kept)), ranks=2, micro=4),
        update(batch, chosen, np.arange(N), ranks=2, micro=4),
    )
