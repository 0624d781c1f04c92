"""Numbers with their nouns."""

from __future__ import annotations

import pytest

from rlinf.wording import plural


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "episode", "0 episodes"),
        (1, "episode", "1 episode"),
        (2, "episode", "2 episodes"),
        (1, "process", "1 process"),
        (3, "process", "3 processes"),
        (2, "micro-batch", "2 micro-batches"),
    ],
)
def test_one_thing_has_no_s(count: int, noun: str, text: str):
    assert plural(count, noun) == text
