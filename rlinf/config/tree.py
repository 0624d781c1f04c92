"""Dotted keys in a nested dict, as it comes from YAML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Tree = dict[str, Any]


def get(tree: Tree, key: str) -> Any:
    """The value at a dotted key; None where there is none. In a list the key is a number."""
    node: Any = tree
    for part in key.split("."):
        if isinstance(node, list):
            node = {str(index): value for index, value in enumerate(node)}
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]
    return node


def has(tree: Tree, key: str) -> bool:
    """Whether the dotted key is there, be its value None."""
    parent, _, name = key.rpartition(".")
    node = get(tree, parent) if parent else tree
    return isinstance(node, dict) and name in node


def put(tree: Tree, key: str, value: Any) -> None:
    """Sets a dotted key and makes the sections above it."""
    *parents, name = key.split(".")
    for part in parents:
        child = tree.get(part)
        if not isinstance(child, dict):
            child = tree[part] = {}
        tree = child
    tree[name] = value


def take(tree: Tree, key: str) -> Any:
    """Removes an existing dotted key and the sections it leaves empty; returns its value."""
    parent, _, name = key.rpartition(".")
    node = get(tree, parent) if parent else tree
    value = node.pop(name)
    if parent and not node:
        take(tree, parent)
    return value


def keys(tree: Tree, above: str = "") -> Iterator[str]:
    """All dotted keys, every section before what it holds."""
    for name, value in tree.items():
        key = f"{above}.{name}" if above else str(name)
        yield key
        if isinstance(value, dict):
            yield from keys(value, key)
