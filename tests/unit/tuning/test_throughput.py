from __future__ import annotations

import pytest

from rlinf.tuning.throughput import Measured, Size, fit


def iteration(size: Size, a: float, b: float, c: float, d: float, rest: float = 0.5) -> Measured:
    rollout = size.chunk_steps * (a + b * size.envs)
    update = c * size.micro_batches + d * size.samples
    return Measured(size, 3 * size.chunk_steps * size.envs, rollout, update, rest)


SMALL, LARGE = Size(10, 4, 4, 40), Size(10, 8, 2, 80)


def test_two_iterations_of_other_sizes_give_all_costs():
    speed = fit([iteration(size, 0.02, 0.01, 0.3, 0.005) for size in (SMALL, LARGE)])
    assert speed == pytest.approx((0.02, 0.01, 0.3, 0.005, 0.5, 3.0))


def test_the_seconds_of_another_size_follow():
    speed = fit([iteration(size, 0.02, 0.01, 0.3, 0.005) for size in (SMALL, LARGE)])
    size = Size(chunk_steps=36, envs=16, micro_batches=12, samples=576)
    assert speed.seconds(size) == pytest.approx((36 * 0.18, 12 * 0.3 + 576 * 0.005, 0.5))
    assert speed.env_steps_per_second(size) == pytest.approx(3 * 36 * 16 / (6.48 + 6.48 + 0.5))


def test_no_cost_is_negative():
    # Twice the sub-envs took less than twice as long minus the fixed part: noise.
    measured = [
        Measured(SMALL, 120, rollout=1.0, update=1.0, rest=0.1),
        Measured(LARGE, 240, rollout=2.2, update=3.0, rest=0.3),
    ]
    speed = fit(measured)
    assert speed.chunk_step == 0.0 and speed.micro_batch == 0.0
    # 40 and 80 sub-env chunks in 1.0 and 2.2 s: the nearest in relative terms.
    ratios = 40 / 1.0, 80 / 2.2
    assert speed.env_chunk == pytest.approx(sum(ratios) / sum(r * r for r in ratios))
    assert speed.rest == pytest.approx(0.2)


def test_one_iteration_puts_all_costs_on_what_is_done():
    speed = fit([iteration(SMALL, 0.0, 0.01, 0.0, 0.005)])
    assert speed == pytest.approx((0.0, 0.01, 0.0, 0.005, 0.5, 3.0))
