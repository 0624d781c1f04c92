from __future__ import annotations

import pytest

from rlinf.algorithms.schedule import learning_rate_factor


def test_warm_up_rises_linearly_and_reaches_one():
    factors = [learning_rate_factor(u, 3, 100, "constant", 0.0) for u in range(5)]
    assert factors == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_cosine_is_halfway_in_the_middle_and_ends_at_the_minimum():
    assert learning_rate_factor(0, 0, 10, "cosine", 0.2) == pytest.approx(1.0)
    assert learning_rate_factor(5, 0, 10, "cosine", 0.2) == pytest.approx(0.6)  # 0.2 + 0.8 / 2
    assert learning_rate_factor(10, 0, 10, "cosine", 0.2) == pytest.approx(0.2)
    assert learning_rate_factor(99, 0, 10, "cosine", 0.2) == pytest.approx(0.2)
