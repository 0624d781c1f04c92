"""The end of a line in a Chinese source is no space."""

from __future__ import annotations

import re

# CJK punctuation, ideographs, full-width forms. Full-width punctuation brings its own space.
_PUNCTUATION = "\u3000-\u303f\uff00-\uff65"
_WIDE = f"\u3400-\u9fff{_PUNCTUATION}"
_LINE_END = re.compile(rf"(?<=[{_PUNCTUATION}])\n|(?<=[{_WIDE}])\n(?=[{_WIDE}])")


def join_lines(text: str) -> str:
    """The text without line ends that a browser would show as a space between Chinese words."""
    return _LINE_END.sub("", text)
