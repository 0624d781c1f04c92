"""The name that was probably meant: a slip of the keyboard, or the same words; else none.

A wrong suggestion costs more than no suggestion, so likeness alone is not enough.
"""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate with the fewest slips, if they are few for the length of the name."""
    slips = {candidate: edits(name, candidate) for candidate in candidates}
    best = min(slips, key=lambda candidate: slips[candidate], default=None)
    return best if best is not None and slips[best] <= _allowed(name) else None


def same_words(name: str, candidates: Iterable[str]) -> str | None:
    """The only candidate that has all words of the name, two at least, and more: `total_num_envs`
    for `num_envs`.
    """
    words = set(name.split("_"))
    found = [candidate for candidate in candidates if words <= set(candidate.split("_"))]
    return found[0] if len(found) == 1 and len(words) > 1 else None


def edits(one: str, other: str) -> int:
    """Letters to insert, delete, replace, or swap with their neighbour, to get from one to the
    other (optimal string alignment).
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        older, before = before, row
        row = [i]
        for j, there in enumerate(other, start=1):
            steps = min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != there))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == there:
                steps = min(steps, older[j - 2] + 1)
            row.append(steps)
    return row[-1]


def _allowed(name: str) -> int:
    """One slip in a short name, two from six letters on, three from twelve."""
    return 1 if len(name) < 6 else 2 if len(name) < 12 else 3
