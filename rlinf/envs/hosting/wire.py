"""Values on their way between two processes whose Python, NumPy and torch may differ.

A message is JSON, with the raw bytes of its arrays beside it. It holds None, booleans, numbers,
text, lists, tuples, dictionaries with text as keys, NumPy arrays, and the dataclasses and named
tuples of `RECORDS`; anything else is refused where it is sent. Nothing here is pickled: a pickle
of one version of NumPy or pydantic is not readable by another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from rlinf.data.types import ChunkResult, EpisodeResult, Observation, Start
from rlinf.envs.episode import EnvState, EpisodeRules, Frame

RECORDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (ChunkResult, EnvState, EpisodeResult, EpisodeRules, Frame, Observation, Start)
}
"""Classes that a message may hold, by name: both sides have the same source code."""
_PLAIN = (bool, int, float, str, type(None))
_DTYPES = "biuf"  # kinds of array elements: bool, int, unsigned, float


def encode(value: Any) -> tuple[bytes, list[memoryview]]:
    """The JSON text of `value`, and the bytes of its arrays in the order in which it names them.

    Raises:
        TypeError: a part of it is of a kind that a message cannot hold.
    """
    buffers: list[memoryview] = []
    text = json.dumps(_to_json(value, buffers), separators=(",", ":"))
    return text.encode(), buffers


def decode(text: bytes, read: Callable[[int], bytearray]) -> Any:
    """The value that `encode` made `text` from.

    Args:
        text: see `encode`.
        read: gives the next so many bytes of the arrays; each array keeps those that it is given.
    """
    return _from_json(json.loads(text), read)


def _to_json(value: Any, buffers: list[memoryview]) -> Any:
    """Plain values as they are, others as an object with one key, which says their kind."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is np.ndarray and value.dtype.kind in _DTYPES:
        array = np.ascontiguousarray(value)
        buffers.append(array.reshape(-1).view(np.uint8).data)
        return {"array": [array.dtype.str, *value.shape]}
    if kind is list or kind is tuple:
        return {kind.__name__: [_to_json(part, buffers) for part in value]}
    if kind is dict and all(type(key) is str for key in value):
        return {"dict": {key: _to_json(part, buffers) for key, part in value.items()}}
    if kind in RECORDS.values():
        return {kind.__name__: [_to_json(part, buffers) for part in _parts(value)]}
    raise TypeError(f"a message between processes cannot hold a {kind.__qualname__}: {value!r}")


def _parts(record: Any) -> Iterator[Any]:
    if is_dataclass(record):
        return (getattr(record, field.name) for field in fields(record))
    return iter(record)


def _from_json(value: Any, read: Callable[[int], bytearray]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        dtype, shape = np.dtype(content[0]), tuple(content[1:])
        return np.ndarray(shape, dtype, read(dtype.itemsize * math.prod(shape)))
    if kind == "dict":
        return {key: _from_json(part, read) for key, part in content.items()}
    parts = [_from_json(part, read) for part in content]
    if kind == "list":
        return parts
    return tuple(parts) if kind == "tuple" else RECORDS[kind](*parts)
