from __future__ import annotations

import numpy as np

from rlinf.data.random import Noise, derive, distinct, seed31

KEYS = derive(7, np.arange(1000))


def test_splitmix64_gives_the_published_first_output():
    # Reference implementation by Vigna, seed 0: the first output is 0xE220A8397B1DCDAF. Our first
    # part starts from key 0, adds the golden ratio and mixes: the same step.
    assert int(derive(0)) == 0xE220A8397B1DCDAF


def test_a_key_depends_on_every_part_and_its_place():
    keys = {int(derive(*parts)) for parts in [(1, 2, 3), (1, 3, 2), (1, 2, 4), (1, 2), (2, 2, 3)]}
    assert len(keys) == 5


def test_parts_broadcast():
    both = derive(3, np.arange(4)[:, None], np.arange(2))
    assert both.shape == (4, 2)
    assert both[2, 1] == derive(3, 2, 1)


def test_a_row_draws_the_same_alone_as_in_company():
    together = Noise(KEYS).uniform(4, 7)
    alone = Noise(KEYS[17:18]).uniform(4, 7)
    assert np.array_equal(together[17:18], alone)


def test_draws_are_uniform_in_the_open_unit_interval():
    draws = Noise(KEYS).uniform(100)
    assert draws.min() > 0 and draws.max() < 1
    # 100,000 draws: mean 1/2 and variance 1/12, standard errors 0.0009 and 0.0002.
    assert abs(draws.mean() - 0.5) < 0.005
    assert abs(draws.var() - 1 / 12) < 0.001
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.1


def test_simulator_seeds_fit_into_31_bits():
    seeds = seed31(KEYS)
    assert seeds.dtype == np.int64 and seeds.min() >= 0 and seeds.max() < 2**31
    assert len(np.unique(seeds)) == 1000


def test_distinct_numbers_are_all_there_when_all_are_asked_for_and_begin_alike():
    assert sorted(distinct(7, 7, 3)) == list(range(7))
    many = distinct(1000, 11_540_480_000, 3)
    assert len(set(many.tolist())) == 1000
    assert many.dtype == np.int64 and many.max() > 2**33
    assert distinct(10, 11_540_480_000, 3).tolist() == many[:10].tolist()
    assert distinct(10, 11_540_480_000, 4).tolist() != many[:10].tolist()
