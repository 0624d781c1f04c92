"""Drawing action tokens from logits, and judging given ones. K is the number of action bins."""

from __future__ import annotations

import torch
from torch import Tensor

from rlinf.models.base import Sampling

TOKENS = "tokens"
"""[B, C, A] int64 in `ActionChunk.sampled`: the tokens that were drawn."""


def log_distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities [..., K] float32 after temperature, then top-k, then top-p.

    Excluded bins get -inf. Temperature comes first, as in transformers' logits warpers.
    """
    scaled = logits.float() / sampling.temperature
    if 0 < sampling.top_k < scaled.shape[-1]:
        threshold = scaled.topk(sampling.top_k, dim=-1).values[..., -1:]
        scaled = scaled.masked_fill(scaled < threshold, -torch.inf)
    if sampling.top_p < 1.0:
        ordered, order = scaled.softmax(-1).sort(dim=-1, descending=True)
        outside = (ordered.cumsum(-1) - ordered) >= sampling.top_p  # mass before the bin
        scaled = scaled.masked_fill(outside.scatter(-1, order, outside), -torch.inf)
    return scaled.log_softmax(-1)


def draw(logdist: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """Token ids [...] int64, by inverting the cumulative distribution at `uniform` [...].

    One random number per token; the result depends on its own row alone.
    """
    if sampling.greedy:
        return logdist.argmax(-1)
    cumulative = logdist.double().exp().cumsum(-1)
    target = uniform.unsqueeze(-1) * cumulative[..., -1:]  # rounding: the sum is not exactly 1
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1)


def token_logprobs(logdist: Tensor, tokens: Tensor) -> Tensor:
    """Log-probabilities [...] of the given tokens [...]."""
    return logdist.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)


def entropy(logdist: Tensor) -> Tensor:
    """Entropy [...] in nats; excluded bins add nothing."""
    finite = logdist.masked_fill(logdist == -torch.inf, 0.0)
    return -(logdist.exp() * finite).sum(-1)
