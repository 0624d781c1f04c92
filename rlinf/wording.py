"""Numbers in messages, with their nouns."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """`1 node`, `2 nodes`, `2 processes`, `2 batches`, `2 epochs`."""
    ending = "" if count == 1 else "es" if noun.endswith(("s", "tch")) else "s"
    return f"{count} {noun}{ending}"
