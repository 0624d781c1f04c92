from __future__ import annotations

import math

import pytest
import torch

from rlinf.models import sampling
from rlinf.models.base import Sampling

LOGITS = torch.tensor([math.log(1.0), math.log(2.0), math.log(5.0)])  # probabilities 1/8 1/4 5/8


def probabilities(given: Sampling) -> list[float]:
    return sampling.log_distribution(LOGITS, given).exp().tolist()


def test_temperature_one_gives_the_softmax():
    assert probabilities(Sampling()) == pytest.approx([0.125, 0.25, 0.625])


def test_temperature_divides_the_logits():
    # T = 1/2 squares the weights: 1, 4, 25 of 30.
    assert probabilities(Sampling(temperature=0.5)) == pytest.approx([1 / 30, 4 / 30, 25 / 30])


def test_top_k_keeps_the_likeliest_bins():
    assert probabilities(Sampling(top_k=2)) == pytest.approx([0, 2 / 7, 5 / 7])


def test_top_p_keeps_the_smallest_set_that_reaches_the_mass():
    assert probabilities(Sampling(top_p=0.6)) == pytest.approx([0, 0, 1])
    assert probabilities(Sampling(top_p=0.7)) == pytest.approx([0, 2 / 7, 5 / 7])


def test_a_draw_inverts_the_cumulative_distribution():
    logdist = sampling.log_distribution(LOGITS, Sampling()).expand(5, 3)
    uniform = torch.tensor([0.001, 0.124, 0.126, 0.374, 0.999], dtype=torch.float64)
    assert sampling.draw(logdist, uniform, Sampling()).tolist() == [0, 0, 1, 1, 2]


def test_an_excluded_bin_is_never_drawn_even_at_the_edges():
    logdist = sampling.log_distribution(torch.tensor([9.0, 0.0, 9.0, 0.0]), Sampling(top_k=2))
    uniform = torch.tensor([2.0**-53, 0.5, 1 - 2.0**-53], dtype=torch.float64)
    drawn = sampling.draw(logdist.expand(3, 4), uniform, Sampling())
    assert set(drawn.tolist()) <= {0, 2}


def test_greedy_takes_the_likeliest_bin_whatever_the_noise():
    uniform = torch.tensor(0.01, dtype=torch.float64)
    assert sampling.draw(LOGITS, uniform, Sampling(greedy=True)) == 2


def test_entropy_counts_only_bins_that_can_be_drawn():
    full = sampling.entropy(sampling.log_distribution(torch.zeros(4), Sampling()))
    half = sampling.entropy(
        sampling.log_distribution(torch.tensor([1.0, 1, 0, 0]), Sampling(top_k=2))
    )
    assert full.item() == pytest.approx(math.log(4))
    assert half.item() == pytest.approx(math.log(2))
