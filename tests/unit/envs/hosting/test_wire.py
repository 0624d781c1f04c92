"""Messages between processes: what comes out is what went in."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest

from rlinf.data.types import EpisodeResult, Observation, Start
from rlinf.envs.episode import EnvState, EpisodeRules, Frame
from rlinf.envs.hosting.wire import decode, encode
from tests.unit.envs.hosting.test_batch import assert_equal


def sent(value: Any) -> Any:
    text, parts = encode(value)
    buffers = BytesIO(b"".join(parts))
    return decode(text, lambda size: bytearray(buffers.read(size)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.1 + 0.2,
        float("inf"),
        "Würfel \ud800 \n",
        [],
        (),
        {"a": [1, (2.5, None)], "dict": {"list": "x"}},
        np.zeros((0, 3), np.float32),
        np.float32([[1, np.nan], [-0.0, 3]]),
        np.array(7, np.int64),
        np.array([True, False]),
        np.arange(12, dtype=np.uint8).reshape(3, 4)[:, ::2],
        Start(1, -1, 2**31 - 1),
        EnvState(Start(0, 1, 2), np.ones((2, 3), np.float32), True),
        EpisodeRules(max_episode_steps=7, task_steps=(3, 4), final="always"),
        Observation(np.zeros((1, 1, 2, 2, 3), np.uint8), np.ones((1, 4), np.float32), ("go",)),
        EpisodeResult(3, Start(0, -1, 5), 7, 1.5, True, False, True),
        [Frame(1, 2, 0.5, True, False, "go", np.zeros((2, 2, 3), np.uint8))],
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_arrives_with_type_and_bits(value):
    assert_equal(sent(value), value)


def test_arrays_that_arrive_can_be_written_and_share_nothing():
    before = np.zeros(3)
    after = sent((before, before))
    after[0][:] = 1
    assert before.tolist() == after[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, np.array(["text"]), np.float32(1), {1, 2}, b"bytes"],
    ids=lambda value: type(value).__name__,
)
def test_what_a_message_cannot_hold_is_refused_where_it_is_sent(value):
    with pytest.raises(TypeError, match="cannot hold a"):
        encode(value)
