"""Files of recorded start states, read as numbers alone: without PyTorch, and without its pickles.

A `.pruned_init` is what `torch.save` makes of a NumPy array: a zip with one pickle, in which the
array stands as NumPy pickles it.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct

from rlinf.errors import UserError


def read_states(file: Path) -> np.ndarray:
    """[n, 1 + nq + nv] float64, or [1 + nq + nv] where the file has a single state.

    Args:
        file: a `.pruned_init`, or an `.npz` with the array `states`.

    Raises:
        UserError: it is no such file, or holds more than numbers.
    """
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                states = archive["states"]
        else:
            states = _pickled(file)
    except (*_DAMAGE, OSError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error) as error:
        raise _refused(file) from error
    if not isinstance(states, np.ndarray) or states.dtype != np.float64:
        raise _refused(file)
    return states


_DAMAGE = (ValueError, KeyError, TypeError, EOFError, IndexError, AttributeError)
"""What NumPy and pickle raise at bytes that are no array."""


def _refused(file: Path) -> UserError:
    return UserError(
        f"{file} holds more than numbers, or is damaged; it was not loaded",
        "install the package that it comes from again",
    )


def _pickled(file: Path) -> Any:
    with zipfile.ZipFile(file) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        return _Array(io.BytesIO(archive.read(name))).load()


def _latin1(text: str, encoding: str) -> bytes:
    """How an old pickle says bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {encoding}")
    return text.encode("latin1")


class _Array(pickle.Unpickler):
    """Knows what an array of numbers consists of, and refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _latin1,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array of numbers")
        return known[module, name]
