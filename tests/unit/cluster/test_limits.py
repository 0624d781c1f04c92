"""Limits that keep Ray from starting."""

from __future__ import annotations

import resource

from rlinf.cluster.limits import explanation, problem_of

NONE = resource.RLIM_INFINITY


def test_too_few_threads_for_ray_are_refused_with_the_limit_and_what_is_used():
    message, fix = problem_of(400, 101, is_root=False) or ("", "")
    assert "ulimit -u = 400" in message and "has 101" in message and "ulimit -u 4096" in fix


def test_enough_threads_no_limit_and_root_are_fine():
    assert problem_of(400, 100, is_root=False) is None
    assert problem_of(NONE, 10**6, is_root=False) is None
    assert problem_of(40, 100, is_root=True) is None


def test_a_limited_address_space_is_named_where_ray_does_not_start():
    message, fix = explanation(4096 * 1024) or ("", "")
    assert "ulimit -v = 4096" in message and "unlimited" in fix
    assert explanation(NONE) is None
