"""A conversion in the making: what is still to be read, what is written, what is said about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rlinf.config import tree
from rlinf.config.dialect import ConfigDialect
from rlinf.config.tree import Tree


@dataclass(slots=True)
class Draft:
    """Each of their keys is taken once: carried over, left out, or lost."""

    theirs: Tree
    dialect: ConfigDialect
    ours: Tree = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    """Our key -> why its line says what it says."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """Their `key: value` and why it is not needed here."""
    unknown: list[str] = field(default_factory=list)
    """Their `key: value` of which nothing is known."""
    lost: list[tuple[str, str]] = field(default_factory=list)
    """What cannot be converted, and what to do."""

    def look(self, *keys: str) -> Any:
        """The value of the first of the keys that is set; it stays to be read."""
        return next((v for key in keys if (v := tree.get(self.theirs, key)) is not None), None)

    def take(self, *keys: str) -> Any:
        """The value of the first of the keys that is set; all of them count as read."""
        value = self.look(*keys)
        for key in keys:
            if tree.has(self.theirs, key):
                tree.take(self.theirs, key)
        return value

    def put(self, key: str, value: Any, remark: str = "") -> None:
        """Sets one of our keys; None sets nothing."""
        if value is None:
            return
        tree.put(self.ours, key, value)
        if remark:
            self.remarks[key] = remark

    def carry(self, key: str, *theirs: str) -> None:
        """Takes the first of their keys that is set, or the same key, as ours."""
        self.put(key, self.take(*(theirs or (key,))))

    def leave(self, key: str, reason: str) -> None:
        """Leaves one of their keys out, where it is set."""
        value = self.take(key)
        if value is not None:
            self.left_out.append((_shown(key, value), reason))

    def ignore(self, key: str) -> None:
        """Leaves out one of their keys of which nothing is known, where it is set."""
        value = self.take(key)
        if value not in (None, []):
            self.unknown.append(_shown(key, value))

    def lose(self, what: str, advice: str) -> None:
        """Notes what cannot be converted."""
        self.lost.append((what, advice))


def _shown(key: str, value: Any) -> str:
    return key if isinstance(value, dict) else f"{key} = {value}"
