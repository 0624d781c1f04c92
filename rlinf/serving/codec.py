"""Messages with arrays as msgpack: openpi's form and that of vla-eval. Nothing is unpickled.

An array is a map of its bytes, dtype and shape, whose keys are bytes in openpi's form and text in
vla-eval's. The latter also sends pictures as PNG or JPEG. Both are read wherever they come.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import numpy as np
from PIL import Image

KINDS = "biuf"  # truth values, integers and floats; no objects, records, complex numbers
MOST_ENTRIES = 256  # of one map or list
MOST_TEXT = 65_536  # bytes
MOST_PIXELS = 2048 * 2048  # of one picture
MOST_PIXELS_IN_ALL = 4 * MOST_PIXELS  # of the pictures of a message that have to be decompressed
MOST_DIMENSIONS = 4


class BadMessage(ValueError):
    """What a client sent cannot be used; the text is for that client."""


def unpack(data: bytes) -> dict[str, Any]:
    """The map of a message, arrays decoded: they are read-only.

    Raises:
        BadMessage: it is no msgpack map, or something in it is not what it says.
    """
    try:
        message = msgpack.unpackb(
            data,
            object_hook=_Decoder(),
            raw=False,
            max_array_len=MOST_ENTRIES,
            max_map_len=MOST_ENTRIES,
            max_str_len=MOST_TEXT,
            max_ext_len=0,
        )
    except BadMessage:
        raise
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise BadMessage(f"the frame is no valid msgpack: {str(error) or 'damaged'}") from error
    if not isinstance(message, dict):
        raise BadMessage(f"the frame holds a {type(message).__name__}, it has to be a map")
    return message


def pack_openpi(message: Mapping[str, Any]) -> bytes:
    """As openpi's client reads it."""
    return bytes(msgpack.packb(message, default=_encoder(str.encode)))


def pack_vla_eval(message: Mapping[str, Any]) -> bytes:
    """As vla-eval's client reads it."""
    return bytes(msgpack.packb(message, default=_encoder(str)))


def _encoder(key: Callable[[str], Any]) -> Callable[[np.ndarray], dict[Any, Any]]:
    def encode(array: np.ndarray) -> dict[Any, Any]:
        content = {
            "__ndarray__": True,
            "data": array.tobytes(),
            "dtype": array.dtype.str,
            "shape": array.shape,
        }
        return {key(name): value for name, value in content.items()}

    return encode


class _Decoder:
    """The maps of one message: an array or number where a map describes one, else the map."""

    def __init__(self) -> None:
        self._pixels = 0

    def __call__(self, content: dict[Any, Any]) -> Any:
        fields = {
            k.decode(errors="replace") if isinstance(k, bytes) else k: v for k, v in content.items()
        }
        if "__ndarray__" in fields:
            return _array(fields)
        if "__npgeneric__" in fields:
            return _number(fields)
        if "__image__" in fields:
            return _array(fields) if fields.get("format") == "raw" else self._picture(fields)
        return content

    def _picture(self, fields: Mapping[str, Any]) -> np.ndarray:
        self._pixels += math.prod(_shape(fields)[:2])
        if self._pixels > MOST_PIXELS_IN_ALL:
            raise BadMessage(f"the pictures have more than {MOST_PIXELS_IN_ALL} pixels in all")
        return _picture(fields)


def _dtype(fields: Mapping[str, Any]) -> np.dtype:
    name = fields.get("dtype")
    if isinstance(name, bytes):
        name = name.decode(errors="replace")
    try:
        dtype = np.dtype(name) if isinstance(name, str) and len(name) <= 16 else None
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.kind not in KINDS:
        raise BadMessage("an array has a dtype that is not a truth value, integer or float")
    return dtype


def _number(fields: Mapping[str, Any]) -> np.generic:
    dtype, value = _dtype(fields), fields.get("data")
    if not isinstance(value, bool | int | float):
        raise BadMessage("a NumPy number holds something that is none")
    try:
        return dtype.type(value)
    except (ValueError, OverflowError) as error:
        raise BadMessage(f"a NumPy number does not fit {dtype}") from error


def _shape(fields: Mapping[str, Any]) -> tuple[int, ...]:
    shape = fields.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) > MOST_DIMENSIONS
        or not all(type(size) is int and 0 <= size < 2**31 for size in shape)
    ):
        raise BadMessage(f"the shape of an array has to be up to {MOST_DIMENSIONS} sizes")
    return tuple(shape)


def _array(fields: Mapping[str, Any]) -> np.ndarray:
    dtype, shape, data = _dtype(fields), _shape(fields), fields.get("data")
    size = math.prod(shape) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) != size:
        found = len(data) if isinstance(data, bytes) else "no"
        raise BadMessage(f"an array {list(shape)} of {dtype} takes {size} bytes, {found} came")
    return np.frombuffer(data, dtype).reshape(shape)


def _picture(fields: Mapping[str, Any]) -> np.ndarray:
    """[H, W, 3] uint8; its size is known before it is decompressed."""
    shape, data = _shape(fields), fields.get("data")
    try:
        with Image.open(io.BytesIO(data or b""), formats=("PNG", "JPEG")) as picture:
            height, width = picture.height, picture.width
            if (height, width) != shape[:2] or height * width > MOST_PIXELS:
                raise BadMessage(f"a picture said to be {list(shape)} is {height} x {width}")
            return np.asarray(picture.convert("RGB"))
    except BadMessage:
        raise
    except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:
        raise BadMessage("a picture is neither PNG nor JPEG, or it is damaged") from error
    except Image.DecompressionBombError as error:
        raise BadMessage("a picture is too large") from error
