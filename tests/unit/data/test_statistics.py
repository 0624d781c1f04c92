from __future__ import annotations

import numpy as np
import pytest

from rlinf.data.statistics import ActionStatistics


def test_the_statistics_of_101_even_steps_are_those_worked_out_by_hand():
    # 0, 1, ..., 100: the 1 % quantile is 1, the 99 % quantile 99, the mean 50, the variance
    # (101^2 - 1) / 12 = 850.
    steps = np.arange(101, dtype=np.float32)
    found = ActionStatistics.of(np.stack([steps, np.full(101, 0.5)], 1).astype(np.float32), 7)
    assert found.q01 == pytest.approx([1, 0.5]) and found.q99 == pytest.approx([99, 0.5])
    assert found.minimum == pytest.approx([0, 0.5]) and found.maximum == pytest.approx([100, 0.5])
    assert found.mean == pytest.approx([50, 0.5])
    assert found.std == pytest.approx([np.sqrt(850), 0])
    assert (found.actions, found.episodes) == (101, 7)
    assert found.q01.dtype == found.mean.dtype == np.float32
