from __future__ import annotations

import math

import pytest
import torch

from rlinf.algorithms.parity import Mismatch, mismatch

# Two samples of two actions with two dimensions; the second dimension never reaches the simulator,
# and sample 1 ended with its first action.
LIVE = torch.tensor([True, False])
MASK = torch.tensor([[True, True], [True, False]])
OLD = torch.zeros(2, 2, 2)


def test_only_tokens_that_count_are_compared():
    new = torch.tensor([[[0.1, 9.0], [-0.2, 9.0]], [[0.0, 9.0], [9.0, 9.0]]])
    found = mismatch(new, OLD, MASK, LIVE)
    assert found.tokens == 3
    assert found.mean == pytest.approx((0.1 + 0.2 + 0.0) / 3)
    assert found.largest == pytest.approx(0.2)
    assert found.exceeds(0.09) and not found.exceeds(0.11)


@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_log_prob_that_is_no_number_is_a_mismatch_whatever_the_tolerance(value: float):
    new = OLD.clone()
    new[0, 0, 0] = value
    assert mismatch(new, OLD, MASK, LIVE).exceeds(1e9)


def test_nothing_to_compare_is_no_mismatch():
    assert mismatch(OLD, OLD + 1, ~MASK & MASK, LIVE) == Mismatch(0.0, 0.0, 0)
