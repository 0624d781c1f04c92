from __future__ import annotations

from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.episode import EnvState
from rlinf.errors import UserError
from rlinf.runners.saving import pack_states, regroup, unpack_states

RNG = np.random.default_rng(0)


def state(length: int, running: bool = True) -> EnvState:
    actions = RNG.normal(size=(length, 7)).astype(np.float32)
    return EnvState(Start(0, -1, int(RNG.integers(2**31))), actions, running)


def test_running_episodes_survive_a_checkpoint_bit_for_bit(tmp_path: Path):
    # Two workers with two stages each, of 2 envs; episodes of all lengths, none among them.
    workers = [
        [([state(3), state(0)], np.array([1, 4])), ([state(5), state(2, False)], np.array([2, 2]))],
        [([state(0), state(0)], np.array([9, 1])), ([state(1), state(7)], np.array([3, 5]))],
    ]
    pack_states(workers, tmp_path / "episodes.npz")
    again = unpack_states(tmp_path / "episodes.npz")
    assert [len(worker) for worker in again] == [2, 2]
    for ours, theirs in zip(chain(*workers), chain(*again), strict=True):
        assert np.array_equal(ours[1], theirs[1])
        for a, b in zip(ours[0], theirs[0], strict=True):
            assert a.start == b.start and a.running == b.running
            assert np.array_equal(a.actions, b.actions) and a.actions.dtype == b.actions.dtype


def test_no_episodes_are_a_valid_checkpoint(tmp_path: Path):
    pack_states([], tmp_path / "episodes.npz")
    assert unpack_states(tmp_path / "episodes.npz") == []


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"episodes\.npz is missing"):
        unpack_states(tmp_path / "episodes.npz")


def test_episodes_are_dealt_out_to_other_numbers_of_workers_and_stages():
    # Four envs that have begun 1, 2, 3 and 4 episodes, on one worker with two stages of two.
    envs = [state(n) for n in range(4)]
    one = [[(envs[:2], np.array([1, 2])), (envs[2:], np.array([3, 4]))]]
    four = regroup(one, workers=4, stages=1, per_stage=1)
    assert [[(s[0].actions.shape[0], b.tolist()) for s, b in worker] for worker in four] == [
        [(0, [1])],
        [(1, [2])],
        [(2, [3])],
        [(3, [4])],
    ]
    again = regroup(four, workers=1, stages=2, per_stage=2)
    for (theirs, counts), (ours, expected) in zip(again[0], one[0], strict=True):
        assert theirs == ours and np.array_equal(counts, expected)


def test_episodes_of_other_sub_envs_are_given_up():
    assert regroup([[([state(1)], np.array([1]))]], workers=1, stages=1, per_stage=2) is None
