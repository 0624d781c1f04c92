"""PPO's losses (torch).

Every loss is a sum over the given samples, divided by a denominator of the whole global minibatch.
So the losses of all micro-batches of all ranks, and their gradients, just add up: the update does
not depend on how samples are split, nor on masked samples being there.

N samples (chunks), C actions per chunk, A action dimensions; K is C where values and advantages
belong to actions, and 1 where they belong to chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from rlinf.algorithms.levels import aggregate, entries, entry_weights
from rlinf.data.types import Level, TrainBatch
from rlinf.metrics.types import ExplainedVariance, Mean, Metric, Metrics

# A ratio beyond e^20 is clipped whatever its size; without this, its gradient would be 0 * inf.
_LARGEST_LOG_RATIO = 20.0

KlEstimate = Literal["k1", "k2", "k3"]


@dataclass(frozen=True, slots=True)
class LossSettings:
    """What the loss must know; the names are those of the configuration's `algorithm` section."""

    loss_type: Literal["actor_critic", "actor"]
    reward_type: Literal["action", "chunk"]
    logprob_type: Level
    entropy_type: Level
    clip_ratio_low: float
    clip_ratio_high: float
    clip_ratio_c: float | None
    value_clip: float
    huber_delta: float
    entropy_bonus: float
    kl_beta: float
    kl_penalty: KlEstimate


class Evaluated(Protocol):
    """What the policy says now of the samples' actions; `rlinf.models.base.Evaluation`."""

    @property
    def logprobs(self) -> Tensor:
        """[N, C, A] float32."""

    @property
    def entropy(self) -> Tensor | None:
        """[N, C, A] float32; None where no update can change it."""

    @property
    def values(self) -> Tensor:
        """[N, K] float32."""

    @property
    def without_noise(self) -> Tensor | None:
        """[N] share of a chunk's transitions that are deterministic; None where there are none."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Some samples of a `TrainBatch` as tensors; the shapes are the same."""

    logprobs: Tensor  # [N, C, A], behaviour policy
    advantages: Tensor  # [N, K]
    returns: Tensor  # [N, K]; [N, 0] without a critic
    values: Tensor  # [N, K], at rollout time; [N, 0] without a critic
    mask: Tensor  # [N, C] bool
    weights: Tensor  # [N, C], 0 outside the mask
    chunk_weights: Tensor  # [N, 1]

    @classmethod
    def take(cls, batch: TrainBatch, rows: np.ndarray, device: torch.device | str) -> Samples:
        """The samples `rows` ([n] int64) of a batch, on a device."""
        fields = (
            batch.logprobs,
            batch.advantages,
            batch.returns,
            batch.values,
            batch.mask,
            batch.weights,
            batch.chunk_weights,
        )
        return cls(*(torch.from_numpy(field[rows]).to(device) for field in fields))

    def without_weight(self) -> Samples:
        """The same samples, none of which counts: their loss and its gradient are 0."""
        return replace(
            self,
            weights=torch.zeros_like(self.weights),
            chunk_weights=torch.zeros_like(self.chunk_weights),
            mask=torch.zeros_like(self.mask),
        )

    def weights_of(self, live: Tensor, level: Level) -> Tensor:
        """The weight of each entry of a level, shaped as `levels.aggregate`'s result."""
        weights = self.chunk_weights if level == "chunk" else self.weights
        return entry_weights(weights, self.mask, live, level)


class Denominators(NamedTuple):
    """What each part of a global minibatch's loss is divided by."""

    policy: float  # sum of the weights of all entries at the level of log-probs
    value: float  # ... at the level of values
    entropy: float  # number of entries at the level of entropy


def denominators(
    batch: TrainBatch, rows: np.ndarray, live: Tensor, settings: LossSettings
) -> Denominators:
    """Denominators of the global minibatch `rows`: all ranks, all micro-batches.

    Args:
        rows: [n] int64, samples of the minibatch.
        live: [A] bool, dimensions that reach the simulator.
    """
    samples, live = Samples.take(batch, rows, "cpu"), live.cpu()
    return Denominators(
        policy=float(_sum(samples.weights_of(live, settings.logprob_type))),
        value=float(_sum(samples.weights_of(live, settings.reward_type))),
        entropy=float(_sum(entries(samples.mask, live, settings.entropy_type))),
    )


def left_out(
    batch: TrainBatch, rows: np.ndarray, live: Tensor, settings: LossSettings, over: Denominators
) -> Metrics:
    """What the metrics of the loss must know of samples that have no gradient: their weight.

    The policy loss of these samples is 0 and nothing else is in the loss, so nothing is computed.

    Args:
        rows: [n] int64, samples of the minibatch that `TrainBatch.trained` says nothing is learnt
            from.
        live: [A] bool, dimensions that reach the simulator.
        over: denominators of the whole global minibatch.
    """
    samples = Samples.take(batch, rows, "cpu")
    weight = _sum(samples.weights_of(live.cpu(), settings.logprob_type))
    return Metrics(
        {
            "train/actor/policy_loss": Mean(0.0, weight),
            "train/loss": Mean(0.0, _over(weight, over.policy)),
        }
    )


def minibatch_loss(
    new: Evaluated,
    old: Samples,
    live: Tensor,
    settings: LossSettings,
    over: Denominators,
    *,
    train_policy: bool = True,
    reference_logprobs: Tensor | None = None,
) -> tuple[Tensor, Metrics]:
    """The given samples' share of their global minibatch's loss, and its metrics.

    L = L_policy + L_value - entropy_bonus * H + kl_beta * KL(policy, reference policy)

    The loss of the minibatch is the sum of the shares over micro-batches and ranks; where gradients
    are averaged over W ranks, multiply by W. Metrics merge over all of them.

    Args:
        live: [A] bool, dimensions that reach the simulator.
        over: denominators of the whole global minibatch.
        train_policy: False while only the critic warms up.
        reference_logprobs: [N, C, A] of the reference policy; needed where kl_beta is not 0.
    """
    loss, share, metrics = _policy_part(new, old, live, settings, over)
    if new.entropy is not None:
        entropy, entropy_metrics = _entropy_part(new.entropy, old, live, settings, over)
        loss = loss - settings.entropy_bonus * entropy
        metrics |= entropy_metrics
    if new.without_noise is not None:
        chunks = old.mask.any(dim=1)
        share_without = Mean(_sum(new.without_noise, chunks), _sum(chunks))
        metrics["train/actor/steps_without_noise"] = share_without
    if settings.kl_beta:
        assert reference_logprobs is not None, "kl_beta needs the reference policy's log-probs"
        kl, kl_metrics = _reference_part(new, old, live, settings, over, reference_logprobs)
        loss = loss + settings.kl_beta * kl
        metrics |= kl_metrics
    if not train_policy:
        loss = torch.zeros_like(loss)
    if settings.loss_type == "actor_critic":
        value, value_metrics = _value_part(new, old, live, settings, over)
        loss = loss + value
        metrics |= value_metrics
    metrics["train/loss"] = Mean(_sum(loss.detach()), share)
    return loss, Metrics(metrics)


# --- formulas, entry by entry ------------------------------------------------------------------


class PolicyTerms(NamedTuple):
    """PPO's policy loss of each entry, and what metrics say about it; all of one shape."""

    loss: Tensor
    ratio: Tensor
    clipped_ratio: Tensor
    clipped: Tensor  # bool, the clipped branch is the larger loss
    dual_clipped: Tensor  # bool, the dual clip bounds the loss


def policy_terms(
    log_ratio: Tensor, advantages: Tensor, low: float, high: float, dual: float | None
) -> PolicyTerms:
    """Clipped surrogate (Schulman et al. 2017, eq. 7) with dual clip (Ye et al. 2020, eq. 5).

    loss = max(-A * ratio, -A * clip(ratio, 1 - low, 1 + high)), and at most dual * |A|. The second
    bound never acts where A > 0, since the loss is negative there.
    """
    ratio = log_ratio.exp()
    clipped_ratio = ratio.clamp(1.0 - low, 1.0 + high)
    plain, bounded = -advantages * ratio, -advantages * clipped_ratio
    loss, clipped = torch.maximum(plain, bounded), bounded > plain
    if dual is None:
        return PolicyTerms(loss, ratio, clipped_ratio, clipped, torch.zeros_like(clipped))
    bound = dual * advantages.abs()
    return PolicyTerms(torch.minimum(loss, bound), ratio, clipped_ratio, clipped, loss > bound)


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, clip: float, delta: float
) -> Tensor:
    """max(huber(R - V), huber(R - V_clipped)), V_clipped = V_old + clip(V - V_old, -clip, clip)."""
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum(huber(returns - values, delta), huber(returns - near, delta))


def huber(error: Tensor, delta: float) -> Tensor:
    """e^2 / 2 where |e| < delta, else delta * (|e| - delta / 2) (Huber 1964)."""
    size = error.abs()
    return torch.where(size < delta, 0.5 * error.square(), delta * (size - 0.5 * delta))


def kl_k2(log_ratio: Tensor) -> Tensor:
    """Gives (ln r)^2 / 2; its gradient is that of KL(p, q) in expectation (arguments: `kl_k3`)."""
    return 0.5 * log_ratio.square()


def kl_k3(log_ratio: Tensor) -> Tensor:
    """Gives r - 1 - ln r, an unbiased estimate of KL(p, q) that is never negative.

    Args:
        log_ratio: ln r = ln q(x) - ln p(x) of samples x of p (Schulman 2020, "Approximating KL
            divergence", k3).
    """
    return log_ratio.exp() - 1.0 - log_ratio


def kl_k1(log_ratio: Tensor) -> Tensor:
    """Gives -ln r, an unbiased estimate of KL(p, q), whose gradient is 0 in expectation."""
    return -log_ratio


_KL: Mapping[KlEstimate, Callable[[Tensor], Tensor]] = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


# --- parts of the loss: sum over the samples / denominator ---------------------------------------


def _policy_part(
    new: Evaluated, old: Samples, live: Tensor, settings: LossSettings, over: Denominators
) -> tuple[Tensor, Tensor, dict[str, Metric]]:
    """Loss, share of the minibatch's weight, metrics."""
    level = settings.logprob_type
    counted = entries(old.mask, live, level)
    weights = old.weights_of(live, level)
    log_ratio = _log_ratio(new.logprobs, old.logprobs, old.mask, live, level)
    terms = policy_terms(
        log_ratio,
        old.advantages[..., None],
        settings.clip_ratio_low,
        settings.clip_ratio_high,
        settings.clip_ratio_c,
    )
    total, weight, count = (weights * terms.loss).sum(), _sum(weights), _sum(counted)
    metrics: dict[str, Metric] = {
        "train/actor/policy_loss": Mean(_sum(total), weight),
        "train/actor/approx_kl": Mean(_sum(-log_ratio, counted), count),
        "train/actor/approx_kl_k3": Mean(_sum(kl_k3(log_ratio), counted), count),
        "train/actor/ratio": Mean(_sum(terms.ratio, counted), count),
        "train/actor/clipped_ratio": Mean(_sum(terms.clipped_ratio, counted), count),
        "train/actor/clip_fraction": Mean(_sum(terms.clipped, counted), count),
    }
    if settings.clip_ratio_c is not None:
        metrics["train/actor/dual_clipped_ratio"] = Mean(_sum(terms.dual_clipped, counted), count)
    return _over(total, over.policy), _over(weight, over.policy), metrics


def _value_part(
    new: Evaluated, old: Samples, live: Tensor, settings: LossSettings, over: Denominators
) -> tuple[Tensor, dict[str, Metric]]:
    counted = entries(old.mask, live, settings.reward_type)[..., 0]  # [N, K]
    weights = old.weights_of(live, settings.reward_type)[..., 0]
    losses = value_loss(
        new.values, old.values, old.returns, settings.value_clip, settings.huber_delta
    )
    total, count = (weights * losses).sum(), _sum(counted)
    error = old.returns - new.values.detach()
    moved = (new.values.detach() - old.values).abs() > settings.value_clip
    metrics: dict[str, Metric] = {
        "train/critic/value_loss": Mean(_sum(total), _sum(weights)),
        "train/critic/value_clip_ratio": Mean(_sum(moved, counted), count),
        "train/critic/explained_variance": ExplainedVariance(
            count,
            _sum(old.returns, counted),
            _sum(old.returns.double().square(), counted),
            _sum(error, counted),
            _sum(error.double().square(), counted),
        ),
    }
    return _over(total, over.value), metrics


def _entropy_part(
    entropy: Tensor, old: Samples, live: Tensor, settings: LossSettings, over: Denominators
) -> tuple[Tensor, dict[str, Metric]]:
    total = aggregate(entropy, old.mask, live, settings.entropy_type).sum()
    count = _sum(entries(old.mask, live, settings.entropy_type))
    return _over(total, over.entropy), {"train/entropy_loss": Mean(_sum(total), count)}


def _reference_part(
    new: Evaluated,
    old: Samples,
    live: Tensor,
    settings: LossSettings,
    over: Denominators,
    reference_logprobs: Tensor,
) -> tuple[Tensor, dict[str, Metric]]:
    level = settings.logprob_type
    weights = old.weights_of(live, level)
    log_ratio = _log_ratio(reference_logprobs, new.logprobs, old.mask, live, level)
    total = (weights * _KL[settings.kl_penalty](log_ratio)).sum()
    return _over(total, over.policy), {"train/actor/kl": Mean(_sum(total), _sum(weights))}


def _log_ratio(new: Tensor, old: Tensor, mask: Tensor, live: Tensor, level: Level) -> Tensor:
    """ln(new / old) at a level; exactly 0 where nothing counts."""
    log_ratio = aggregate(new - old, mask, live, level)
    return log_ratio.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)


def _over(total: Tensor, denominator: float) -> Tensor:
    """Divides a total; a minibatch in which nothing counts has total 0 and loss 0."""
    return total / (denominator or 1.0)


def _sum(values: Tensor, counted: Tensor | None = None) -> Tensor:
    """Sum over the entries that count, in float64 and without gradient."""
    values = values.detach()
    if counted is not None:
        values = torch.where(counted, values, values.new_zeros(()))
    return values.sum(dtype=torch.float64)
