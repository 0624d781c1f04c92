from __future__ import annotations

import numpy as np
import pytest

from rlinf.data.recording import Recording
from rlinf.data.types import ActionChunk, ChunkResult, EpisodeResult, Observation, Start


def chunk(rows: int, version: int = 3) -> ActionChunk:
    filled = np.arange(rows, dtype=np.float32)[:, None, None] + np.ones((rows, 2, 1), np.float32)
    return ActionChunk(filled, {"draw": filled}, -filled, filled[:, :, 0], version)


def result(rewards: list[list[float]]) -> ChunkResult:
    given = np.array(rewards, np.float32)
    off = np.zeros(given.shape, bool)
    nothing = Observation(np.zeros((0, 0, 0, 0, 3), np.uint8), np.zeros((0, 0), np.float32), ())
    rows = np.zeros(0, np.int64)
    return ChunkResult(given, off, off, given > 0, given.any(1), nothing, nothing, rows, ())


def seen(name: int) -> Observation:
    """Three rows, of which row i is recognisable by 10 * name + i in every part."""
    marks = 10 * name + np.arange(3)
    images = np.broadcast_to(marks[:, None, None, None, None], (3, 1, 2, 2, 3)).astype(np.uint8)
    return Observation(images, marks[:, None].astype(np.float32), tuple(map(str, marks)))


def episode(env: int) -> EpisodeResult:
    return EpisodeResult(env, Start(0, 0, 0), 3, 1.0, True, True, True)


def test_rows_that_did_not_act_stay_blank():
    recording = Recording(chunks=3, envs=3, version=3)
    first, second = result([[1, 2], [3, 4], [5, 6]]), result([[7, 8], [0, 0], [9, 0]])
    recording.add(seen(1), np.arange(3), np.arange(3), np.arange(3), chunk(3), first)
    recording.add(seen(2), np.arange(2), np.array([0, 2]), np.array([0, 2]), chunk(2), second)
    recording.publish(lambda observation: observation)
    trajectory = recording.finish()
    assert trajectory.rows.tolist() == [[0, 1, 2], [3, -1, 4], [-1, -1, -1]]
    assert trajectory.observation.state[:, 0].tolist() == [10, 11, 12, 20, 21]
    assert trajectory.observation.images[:, 0, 0, 0, 2].tolist() == [10, 11, 12, 20, 21]
    assert trajectory.observation.instructions == ("10", "11", "12", "20", "21")
    assert trajectory.values[1].tolist() == [[1, 1], [0, 0], [2, 2]]
    assert trajectory.sampled["draw"][1, :, 0, 0].tolist() == [1, 0, 2]
    assert trajectory.rewards[:, 2].tolist() == [[5, 6], [9, 0], [0, 0]]
    assert not trajectory.valid[2].any()


def test_values_of_ends_belong_to_the_latest_chunk():
    recording = Recording(chunks=2, envs=2, version=3)
    both = np.arange(2)
    recording.add(seen(1), both, both, both, chunk(2), result([[1, 1], [1, 1]]))
    recording.set_final_values(np.array([1]), np.array([0.5], np.float32))
    recording.set_next_values(np.array([0]), np.array([0.25], np.float32))
    recording.publish(lambda observation: observation)
    trajectory = recording.finish()
    assert trajectory.final_values.tolist() == [[0, 0.5], [0, 0]]
    assert trajectory.next_values.tolist() == [0.25, 0]


def test_weights_of_another_version_are_refused():
    recording = Recording(chunks=1, envs=1, version=3)
    with pytest.raises(RuntimeError, match="weights 2 acted in a rollout of 3"):
        one = np.arange(1)
        recording.add(seen(1), one, one, one, chunk(1, version=2), result([[1, 1]]))


def test_an_env_that_begins_later_has_its_chunks_from_the_first_on():
    """Env 0 was played in place 1, env 1 in place 0."""
    recording, zero, one = Recording(chunks=2, envs=2, version=3), np.array([0]), np.array([1])
    recording.add(seen(1), one, one, zero, chunk(2), result([[8, 8], [1, 2]]))
    recording.end(0, episode(0))
    recording.add(seen(2), zero, zero, one, chunk(1), result([[3, 4], [8, 8]]))
    recording.set_final_values(zero, np.array([0.5], np.float32))
    recording.add(seen(3), zero, zero, one, chunk(1), result([[5, 6], [8, 8]]))
    recording.end(1, episode(1))
    recording.publish(lambda observation: observation)
    trajectory = recording.finish()
    assert trajectory.rows.tolist() == [[0, 1], [-1, 2]]
    assert trajectory.observation.state[:, 0].tolist() == [11, 20, 30]
    assert trajectory.rewards.tolist() == [[[1, 2], [3, 4]], [[0, 0], [5, 6]]]
    assert trajectory.values[0].tolist() == [[2, 2], [1, 1]]
    assert trajectory.final_values.tolist() == [[0.5, 0], [0, 0]]
    assert [e.env for e in trajectory.episodes] == [0, 1]
