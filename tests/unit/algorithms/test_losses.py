"""Losses against numbers worked out by hand, and metrics divided by the right counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rlinf.algorithms.losses import (
    Denominators,
    LossSettings,
    Samples,
    denominators,
    huber,
    kl_k1,
    kl_k2,
    kl_k3,
    left_out,
    minibatch_loss,
    policy_terms,
    value_loss,
)
from rlinf.data.types import TrainBatch
from rlinf.metrics.types import Mean, Metrics


def tensor(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


# --- formulas -------------------------------------------------------------------------------------


def test_the_clip_acts_only_where_the_ratio_moved_too_far_in_the_direction_of_gain():
    # clip to [0.8, 1.28]
    # A = 1:  r = 1.5: max(-1.5, -1.28) = -1.28, clipped;  r = 0.5: max(-0.5, -0.8) = -0.5
    # A = -1: r = 1.5: max(1.5, 1.28) = 1.5;               r = 0.5: max(0.5, 0.8) = 0.8, clipped
    ratio, advantages = tensor(1.5, 0.5, 1.5, 0.5), tensor(1, 1, -1, -1)
    terms = policy_terms(ratio.log(), advantages, 0.2, 0.28, None)
    torch.testing.assert_close(terms.loss, tensor(-1.28, -0.5, 1.5, 0.8))
    assert terms.clipped.tolist() == [True, False, False, True]
    torch.testing.assert_close(terms.clipped_ratio, tensor(1.28, 0.8, 1.28, 0.8))
    assert not terms.dual_clipped.any()


def test_no_gradient_flows_where_the_clip_acts():
    log_ratio = tensor(1.5, 0.5, 1.5, 0.5).log().requires_grad_(True)
    policy_terms(log_ratio, tensor(1, 1, -1, -1), 0.2, 0.28, None).loss.sum().backward()
    # d(-A r) / d ln r = -A r
    torch.testing.assert_close(log_ratio.grad, tensor(0.0, -0.5, 1.5, 0.0))


def test_the_dual_clip_bounds_the_loss_of_bad_actions_and_leaves_good_ones_alone():
    # c = 3. A = -1, r = 5: loss 5, bounded to 3. A = -1, r = 2: 2 < 3. A = 1, r = 5: -1.2.
    log_ratio = tensor(5, 2, 5).log().requires_grad_(True)
    terms = policy_terms(log_ratio, tensor(-1, -1, 1), 0.2, 0.2, 3.0)
    torch.testing.assert_close(terms.loss, tensor(3, 2, -1.2))
    assert terms.dual_clipped.tolist() == [True, False, False]
    terms.loss.sum().backward()
    torch.testing.assert_close(log_ratio.grad, tensor(0, 2, 0))


def test_huber_turns_linear_at_delta():
    # delta 2: |1| < 2: 0.5; |-3|: 2 * (3 - 1) = 4; at 2 both forms give 2
    torch.testing.assert_close(huber(tensor(1, -3, 2), 2.0), tensor(0.5, 4, 2))


def test_the_value_loss_is_the_worse_of_plain_and_clipped():
    # V_old = 0, clip 0.2, delta 10
    # V = 1, R = 2: V_clip = 0.2: max(0.5, 1.8^2 / 2 = 1.62) = 1.62
    # V = 1, R = 0: V_clip = 0.2: max(0.5, 0.02) = 0.5
    # V = 0.1, R = 2: not clipped: 1.9^2 / 2 = 1.805
    losses = value_loss(tensor(1, 1, 0.1), torch.zeros(3), tensor(2, 0, 2), 0.2, 10.0)
    torch.testing.assert_close(losses, tensor(1.62, 0.5, 1.805))


def test_the_value_loss_uses_the_huber_delta_in_both_branches():
    # delta 1: V = 1, R = 3, V_clip = 0.2: max(2 - 0.5, 2.8 - 0.5) = 2.3
    losses = value_loss(tensor(1), torch.zeros(1), tensor(3), 0.2, 1.0)
    torch.testing.assert_close(losses, tensor(2.3))


def test_k3_is_never_negative_and_zero_only_without_change():
    # r = 2: 2 - 1 - ln 2 = 0.306853; r = 1/2: -1/2 + ln 2 = 0.193147
    torch.testing.assert_close(
        kl_k3(tensor(2, 1, 0.5).log()), tensor(1 - math.log(2), 0, math.log(2) - 0.5)
    )


def test_k2_has_the_gradient_of_the_divergence_and_k1_has_none():
    # Over two outcomes, p = softmax(x, 0) and q = (1/2, 1/2):
    # KL(p, q) = p ln 2p + (1 - p) ln 2(1 - p), dKL/dx = p (1 - p) x, as ln(p / (1 - p)) = x.
    # The expectation over samples of p holds p fixed: only ln p(sample) has a gradient.
    x = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    p = torch.sigmoid(x)
    logp = torch.stack([p.log(), (1 - p).log()])
    chance = torch.stack([p, 1 - p]).detach()
    for estimate, expected in ((kl_k2, float((p * (1 - p) * x).detach())), (kl_k1, 0.0)):
        value = (chance * estimate(math.log(0.5) - logp)).sum()
        (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
        assert float(gradient) == pytest.approx(expected, abs=1e-12)


# --- the whole loss -------------------------------------------------------------------------------


@dataclass
class Evaluated:
    logprobs: Tensor
    entropy: Tensor
    values: Tensor
    without_noise: Tensor | None = None


SETTINGS = LossSettings(
    loss_type="actor_critic",
    reward_type="action",
    logprob_type="token",
    entropy_type="token",
    clip_ratio_low=0.2,
    clip_ratio_high=0.2,
    clip_ratio_c=None,
    value_clip=0.2,
    huber_delta=10.0,
    entropy_bonus=0.0,
    kl_beta=0.0,
    kl_penalty="k3",
)
LIVE = torch.tensor([True, True])


def batch(**changes: Any) -> TrainBatch:
    """Two samples of C = 2 actions with A = 2 dimensions; sample 1 ends with its first action."""
    given: dict[str, Any] = {
        "observations": [],
        "nodes": [],
        "objects": np.zeros(2, np.int64),
        "rows": np.arange(2),
        "sampled": {"tokens": np.zeros((2, 2, 2))},
        "logprobs": np.zeros((2, 2, 2)),
        "advantages": np.array([[1.0, -1.0], [1.0, 0.0]]),
        "returns": np.array([[2.0, 0.0], [2.0, 0.0]]),
        "values": np.zeros((2, 2)),
        "mask": np.array([[True, True], [True, False]]),
        "weights": np.array([[1.0, 1.0], [1.0, 0.0]]),
        "chunk_weights": np.ones((2, 1)),
        "trained": np.ones(2, bool),
        "planned": 2,
        "version": 0,
    }
    return TrainBatch(**(given | changes))


def evaluated(ratios: Any = 1.0, values: Any = 0.0, entropy: Any = 0.0) -> Evaluated:
    """What a policy says whose probabilities are `ratios` times the old ones."""
    shape = torch.zeros(2, 2, 2, dtype=torch.float64)
    return Evaluated(
        (shape + torch.as_tensor(ratios, dtype=torch.float64)).log(),
        shape + torch.as_tensor(entropy, dtype=torch.float64),
        shape[..., 0] + torch.as_tensor(values, dtype=torch.float64),
    )


def whole(new: Evaluated, given: TrainBatch, settings: LossSettings = SETTINGS, **more: Any):
    """Loss and metrics of all samples as one minibatch of one micro-batch."""
    rows = np.arange(len(given))
    over = denominators(given, rows, LIVE, settings)
    samples = Samples.take(given, rows, "cpu")
    loss, metrics = minibatch_loss(new, samples, LIVE, settings, over, **more)
    return float(loss.detach()), metrics.reduce()


# Ratios of the six tokens that count, and one action that was never executed.
RATIOS = [[[1.5, 0.5], [1.5, 0.5]], [[1.0, 1.1], [777.0, 777.0]]]


def test_token_level_metrics_are_divided_by_the_number_of_tokens():
    # clip to [0.8, 1.2]
    # action 0 of sample 0, A = 1:  max(-1.5, -1.2) = -1.2 clipped; max(-0.5, -0.8) = -0.5
    # action 1 of sample 0, A = -1: max(1.5, 1.2) = 1.5;            max(0.5, 0.8) = 0.8 clipped
    # action 0 of sample 1, A = 1:  -1.0; -1.1
    loss, metrics = whole(evaluated(RATIOS), batch(), replace(SETTINGS, loss_type="actor"))
    expected = (-1.2 - 0.5 + 1.5 + 0.8 - 1.0 - 1.1) / 6
    assert loss == pytest.approx(expected)
    assert metrics["train/loss"] == pytest.approx(expected)
    assert metrics["train/actor/policy_loss"] == pytest.approx(expected)
    assert metrics["train/actor/clip_fraction"] == pytest.approx(2 / 6)
    assert metrics["train/actor/ratio"] == pytest.approx((1.5 + 0.5 + 1.5 + 0.5 + 1 + 1.1) / 6)
    clipped_ratio = (1.2 + 0.8 + 1.2 + 0.8 + 1 + 1.1) / 6
    assert metrics["train/actor/clipped_ratio"] == pytest.approx(clipped_ratio)
    kl = -(2 * math.log(1.5) + 2 * math.log(0.5) + math.log(1.1)) / 6
    assert metrics["train/actor/approx_kl"] == pytest.approx(kl)
    k3 = (2 * 0.5 - 2 * 0.5 + 0.1) / 6 + kl
    assert metrics["train/actor/approx_kl_k3"] == pytest.approx(k3)
    assert "train/actor/dual_clipped_ratio" not in metrics


def test_action_level_ratios_are_products_over_dimensions():
    # products 0.75, 0.75, 1.1 with A = 1, -1, 1; clip to [0.8, 1.2]:
    # max(-0.75, -0.8) = -0.75; max(0.75, 0.8) = 0.8 clipped; -1.1
    loss, metrics = whole(
        evaluated(RATIOS), batch(), replace(SETTINGS, loss_type="actor", logprob_type="action")
    )
    assert loss == pytest.approx((-0.75 + 0.8 - 1.1) / 3)
    assert metrics["train/actor/clip_fraction"] == pytest.approx(1 / 3)


def test_chunk_level_ratios_are_products_over_executed_actions():
    # products 0.5625 and 1.1, one advantage per chunk: max(-0.5625, -0.8) = -0.5625; -1.1
    given = batch(advantages=np.ones((2, 1)), returns=np.zeros((2, 0)), values=np.zeros((2, 0)))
    settings = replace(SETTINGS, loss_type="actor", reward_type="chunk", logprob_type="chunk")
    loss, _ = whole(evaluated(RATIOS), given, settings)
    assert loss == pytest.approx((-0.5625 - 1.1) / 2)


def test_a_chunks_advantage_is_shared_by_its_tokens():
    # A = 1 and -1 per chunk: -1.2, -0.5, -1.2, -0.5 of sample 0; 1.0, 1.1 of sample 1
    given = batch(
        advantages=np.array([[1.0], [-1.0]]), returns=np.zeros((2, 0)), values=np.zeros((2, 0))
    )
    settings = replace(SETTINGS, loss_type="actor", reward_type="chunk")
    loss, _ = whole(evaluated(RATIOS), given, settings)
    assert loss == pytest.approx((-1.2 - 0.5 - 1.2 - 0.5 + 1.0 + 1.1) / 6)


def test_length_weights_multiply_numerator_and_denominator():
    # Sample 1 weighs 3: its tokens -1.0 and -1.1 count three times, of 4 * 1 + 2 * 3 = 10.
    given = batch(weights=np.array([[1.0, 1.0], [3.0, 0.0]]))
    loss, metrics = whole(evaluated(RATIOS), given, replace(SETTINGS, loss_type="actor"))
    assert loss == pytest.approx((-1.2 - 0.5 + 1.5 + 0.8 + 3 * (-1.0 - 1.1)) / 10)
    assert metrics["train/actor/clip_fraction"] == pytest.approx(2 / 6)  # not weighted


def test_chunks_have_weights_of_their_own():
    # Ratios are 1, advantages 1 and -1 with weights 1 and 3: (-1 * 1 + 1 * 3) / 4.
    given = batch(
        advantages=np.array([[1.0], [-1.0]]),
        weights=np.full((2, 2), 7.0),
        chunk_weights=np.array([[1.0], [3.0]]),
    )
    settings = replace(SETTINGS, loss_type="actor", logprob_type="chunk", reward_type="chunk")
    loss, _ = whole(evaluated(), given, settings)
    assert loss == pytest.approx((-1.0 + 3.0) / 4)


def test_dimensions_that_are_not_live_count_in_nothing():
    live = torch.tensor([True, False])
    settings = replace(SETTINGS, loss_type="actor", entropy_bonus=1.0)
    given = batch()
    samples, over = (
        Samples.take(given, np.arange(2), "cpu"),
        denominators(given, np.arange(2), live, settings),
    )
    new = evaluated(RATIOS, entropy=[1.0, 50.0])
    loss, metrics = minibatch_loss(new, samples, live, settings, over)
    # first dimensions: ratios 1.5 (A = 1), 1.5 (A = -1), 1.0 (A = 1); entropy 1 each
    assert float(loss.detach()) == pytest.approx((-1.2 + 1.5 - 1.0) / 3 - 1.0)
    assert metrics.reduce()["train/entropy_loss"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("level", "expected"),
    # entropies 1 and 2 per dimension, three executed actions, two chunks
    [("token", 9 / 6), ("action", 9 / 3), ("chunk", 9 / 2)],
)
def test_entropy_is_summed_up_to_its_level_and_averaged_over_it(level, expected):
    settings = replace(SETTINGS, loss_type="actor", entropy_type=level)
    new = evaluated(entropy=[1.0, 2.0])
    without, metrics = whole(new, batch(), settings)
    assert metrics["train/entropy_loss"] == pytest.approx(expected)  # also without a bonus
    with_bonus, _ = whole(new, batch(), replace(settings, entropy_bonus=0.1))
    assert with_bonus == pytest.approx(without - 0.1 * expected)


def test_steps_without_noise_are_averaged_over_chunks_that_count():
    assert "train/actor/steps_without_noise" not in whole(evaluated(), batch())[1]
    new = replace(evaluated(), without_noise=torch.tensor([1.0, 0.5]))
    loss, metrics = whole(new, batch())
    assert metrics["train/actor/steps_without_noise"] == 0.75
    assert loss == whole(evaluated(), batch())[0]
    nothing = Samples.take(batch(), np.arange(2), "cpu").without_weight()
    over = denominators(batch(), np.arange(2), LIVE, SETTINGS)
    share = minibatch_loss(new, nothing, LIVE, SETTINGS, over)[1]["train/actor/steps_without_noise"]
    assert share == Mean(0.0, 0.0)


def test_critic_metrics_count_values_of_executed_actions():
    # V_old = 0, clip 0.2, returns 2, 0, 2; new values 1, 0.1, 0.2 (0.2 has not moved too far)
    # losses: V = 1: 1.62; V = 0.1: R = 0: 0.005; V = 0.2: 1.8^2 / 2 = 1.62
    loss, metrics = whole(evaluated(values=[[1.0, 0.1], [0.2, 9.0]]), batch())
    value = (1.62 + 0.005 + 1.62) / 3
    policy = (-1 - 1 + 1 + 1 - 1 - 1) / 6
    assert metrics["train/critic/value_loss"] == pytest.approx(value)
    assert metrics["train/critic/value_clip_ratio"] == pytest.approx(1 / 3)
    assert loss == pytest.approx(policy + value)
    # errors 1, -0.1, 1.8: variance of (1, -0.1, 1.8) over variance of (2, 0, 2)
    explained = 1 - np.var([1.0, -0.1, 1.8]) / np.var([2.0, 0.0, 2.0])
    assert metrics["train/critic/explained_variance"] == pytest.approx(explained)


def test_a_chunks_value_is_judged_once():
    given = batch(
        advantages=np.zeros((2, 1)), returns=np.array([[2.0], [0.0]]), values=np.zeros((2, 1))
    )
    new = replace(evaluated(), values=tensor(0.1, 0.1)[:, None])
    _, metrics = whole(new, given, replace(SETTINGS, reward_type="chunk"))
    assert metrics["train/critic/value_loss"] == pytest.approx((1.9**2 / 2 + 0.1**2 / 2) / 2)


def test_the_share_of_dual_clipped_entries_is_logged_when_the_clip_is_on():
    ratios = [[[5.0, 1.0], [5.0, 1.0]], [[1.0, 1.0], [777.0, 777.0]]]  # A = 1, -1, 1
    settings = replace(SETTINGS, loss_type="actor", clip_ratio_c=3.0)
    loss, metrics = whole(evaluated(ratios), batch(), settings)
    assert loss == pytest.approx((-1.2 - 1 + 3 + 1 - 1 - 1) / 6)
    assert metrics["train/actor/dual_clipped_ratio"] == pytest.approx(1 / 6)


def test_the_divergence_from_the_reference_policy_is_added():
    # p_new = 1, p_start = 2 for every token: k3 = 2 - 1 - ln 2
    reference = torch.full((2, 2, 2), math.log(2), dtype=torch.float64)
    settings = replace(SETTINGS, loss_type="actor", kl_beta=0.5)
    loss, metrics = whole(evaluated(), batch(), settings, reference_logprobs=reference)
    k3 = 1 - math.log(2)
    assert metrics["train/actor/kl"] == pytest.approx(k3)
    assert loss == pytest.approx((-1 - 1 + 1 + 1 - 1 - 1) / 6 + 0.5 * k3)


def test_the_divergence_can_be_half_the_squared_log_ratio():
    reference = torch.full((2, 2, 2), math.log(2), dtype=torch.float64)
    settings = replace(SETTINGS, loss_type="actor", kl_beta=0.5, kl_penalty="k2")
    _, metrics = whole(evaluated(), batch(), settings, reference_logprobs=reference)
    assert metrics["train/actor/kl"] == pytest.approx(math.log(2) ** 2 / 2)


def test_samples_without_advantage_can_be_left_out_of_the_computation():
    given = batch(
        advantages=np.array([[1.0, -1.0], [0.0, 0.0]]),
        weights=np.array([[1.0, 1.0], [3.0, 0.0]]),
    )
    settings = replace(SETTINGS, loss_type="actor")
    loss, expected = whole(evaluated(RATIOS), given, settings)
    over = denominators(given, np.arange(2), LIVE, settings)
    new, first = evaluated(RATIOS), np.array([0])
    part, metrics = minibatch_loss(
        Evaluated(new.logprobs[:1], new.entropy[:1], new.values[:1]),
        Samples.take(given, first, "cpu"),
        LIVE,
        settings,
        over,
    )
    assert float(part) == pytest.approx(loss)
    merged = Metrics.merge([metrics, left_out(given, np.array([1]), LIVE, settings, over)]).reduce()
    for name in ("train/actor/policy_loss", "train/loss"):
        assert merged[name] == pytest.approx(expected[name])


def test_only_the_value_loss_has_a_gradient_while_the_critic_warms_up():
    new = evaluated(RATIOS, values=1.0)
    new.logprobs.requires_grad_(True)
    new.values.requires_grad_(True)
    given = batch()
    rows = np.arange(2)
    settings = replace(SETTINGS, entropy_bonus=0.1)
    loss, metrics = minibatch_loss(
        new,
        Samples.take(given, rows, "cpu"),
        LIVE,
        settings,
        denominators(given, rows, LIVE, settings),
        train_policy=False,
    )
    loss.backward()
    assert new.logprobs.grad is None
    assert new.values.grad is not None
    logged = metrics.reduce()
    assert logged["train/loss"] == pytest.approx(logged["train/critic/value_loss"])
    assert logged["train/actor/clip_fraction"] == pytest.approx(2 / 6)  # metrics go on


def test_a_minibatch_in_which_nothing_counts_has_loss_zero_and_no_metrics():
    given = batch(mask=np.zeros((2, 2), bool), weights=np.zeros((2, 2)))
    new = evaluated(RATIOS, values=3.0, entropy=1.0)
    new.logprobs.requires_grad_(True)
    rows = np.arange(2)
    settings = replace(SETTINGS, entropy_bonus=0.1)
    over = denominators(given, rows, LIVE, settings)
    assert over == Denominators(0.0, 0.0, 0.0)
    loss, metrics = minibatch_loss(new, Samples.take(given, rows, "cpu"), LIVE, settings, over)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not new.logprobs.grad.any()
    assert metrics.reduce() == {}


def test_a_ratio_that_overflows_leaves_loss_and_gradient_finite():
    new = Evaluated(
        torch.full((2, 2, 2), 500.0, dtype=torch.float64, requires_grad=True),
        torch.zeros(2, 2, 2),
        torch.zeros(2, 2),
    )
    given = batch(advantages=np.ones((2, 2)))
    rows, settings = np.arange(2), replace(SETTINGS, loss_type="actor")
    over = denominators(given, rows, LIVE, settings)
    loss, _ = minibatch_loss(new, Samples.take(given, rows, "cpu"), LIVE, settings, over)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(-1.2)
    assert not new.logprobs.grad.any()
