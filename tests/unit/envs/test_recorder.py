"""Frames of videos give way where memory runs short."""

from __future__ import annotations

import numpy as np
import psutil
import pytest

from rlinf.data.types import Start
from rlinf.envs import recorder
from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.toy.reach import ToyReach


class Machine:
    """How much of its memory is in use, in percent."""

    percent = 50.0

    def memory_percent(self) -> float:
        return self.percent


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr("rlinf.envs.recorder.memory_percent", made.memory_percent)
    return made


def test_a_recording_is_dropped_whole_and_the_next_one_kept(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    rules = EpisodeRules(max_episode_steps=100, record=2)
    batch = EpisodeBatch(ToyReach(2, obs_dim=4, action_dim=2), rules)
    everyone, actions = np.ones(2, bool), np.zeros((2, 10, 2), np.float32)

    def run() -> np.ndarray:
        return batch.run_chunk(actions, everyone, [None, None]).rewards

    batch.start(np.arange(2), [Start(0, -1, 1)] * 2)
    before = run()
    assert caplog.records == []
    machine.percent = 91.0
    during = run()
    machine.percent = 50.0
    run()
    assert batch.take_frames() == []
    (warned,) = caplog.records
    assert "more than 90 % of the memory is in use: this video is dropped" in warned.message
    np.testing.assert_array_equal(before, during)
    run()
    assert [(frame.env, frame.step) for frame in batch.take_frames()] == [
        (env, step) for step in range(31, 41) for env in range(2)
    ]


def test_the_memory_in_use_is_that_which_psutil_sees() -> None:
    assert recorder.memory_percent() >= psutil.virtual_memory().percent - 5  # or its container's
