"""Curves that stay small: what a bucket says, and that it is the same as of all values at once."""

from __future__ import annotations

import statistics

from rlinf.logging.curves import MOST, Curves


def test_a_short_curve_is_its_values() -> None:
    curves = Curves()
    for step, value in ((0, 0.5), (1, None), (2, 1.0)):
        curves.add(step, "a/b", value)
    assert curves.points("a/b") == [[0, 0.5], [1, None], [2, 1.0]]
    assert curves.points("never/written") == []


def test_a_long_curve_keeps_means_and_extremes_of_neighbours() -> None:
    # 1600 steps in 400 buckets of 4; the values of the first are 0, 1, 2, 0.
    curves = Curves()
    values = [float(step % 3) for step in range(1600)]
    for step, value in enumerate(values):
        curves.add(step, "a/b", value)
    points = curves.points("a/b")
    assert (curves.width, len(points)) == (4, MOST)
    assert points[0] == [1.5, 0.75, 0.0, 2.0]
    for index, (step, mean, low, high) in enumerate(points):
        own = values[4 * index : 4 * index + 4]
        assert step == 4 * index + 1.5
        assert (mean, low, high) == (statistics.mean(own), min(own), max(own))


def test_a_hundred_thousand_rows_stay_a_few_hundred_points_and_lose_no_spike() -> None:
    curves = Curves()
    for step in range(100_000):
        curves.add(step, "a/b", 1000.0 if step == 77_777 else 0.0)
    points = curves.points("a/b")
    assert len(points) <= MOST
    assert max(point[-1] for point in points) == 1000.0


def test_what_is_new_begins_at_a_bucket() -> None:
    curves = Curves()
    for step in range(10):
        curves.add(step, "a/b", float(step))
    assert curves.points("a/b", since=8) == [[8, 8.0], [9, 9.0]]
