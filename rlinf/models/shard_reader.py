"""Reads torch's distributed checkpoints as data: no code runs that a file names.

Torch pickles the list of the shards and every number beside them. A pickle may name any function,
and torch's own reader would call it. Here only the types that the writer uses are known.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import IO, Any

import torch
from torch.distributed.checkpoint import metadata as described
from torch.distributed.checkpoint._traverse import get_element, set_element
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem
from torch.futures import Future
from torch.serialization import _get_layout

from rlinf.errors import UserError

_TYPES = (
    described.Metadata,
    described.TensorStorageMetadata,
    described.BytesStorageMetadata,
    described.TensorProperties,
    described.ChunkStorageMetadata,
    described.MetadataIndex,
    described.StorageMeta,
    described._MEM_FORMAT_ENCODING,
    _StorageInfo,
    torch.Size,
)
_KNOWN: dict[tuple[str, str], Any] = {
    **{(kind.__module__, kind.__qualname__): kind for kind in _TYPES},
    ("torch.serialization", "_get_layout"): _get_layout,
    ("pathlib", "PosixPath"): Path,
    ("pathlib._local", "PosixPath"): Path,  # as Python 3.13 calls it
}
_DAMAGE = (
    pickle.UnpicklingError,
    AssertionError,  # torch's, about sizes
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,  # torch's, about anything else
    TypeError,
    ValueError,
)
"""What reading raises where the bytes are others than those that were written."""


class DataReader(FileSystemReader):
    """`FileSystemReader` whose files hold data alone, all of it in the checkpoint's folder."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> described.Metadata:
        """The list of shards.

        Raises:
            UserError: it is missing or damaged, or names more than data.
        """
        path = Path(self.path) / ".metadata"
        try:
            with path.open("rb") as file:
                found = _DataUnpickler(file).load()
            _check(found)
        except _DAMAGE as error:
            raise _unreadable(path, error) from error
        assert isinstance(found, described.Metadata)
        found.storage_meta = found.storage_meta or described.StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """The tensors and numbers of a plan."""
        try:
            return super().read_data(plan, planner)
        except _DAMAGE as error:
            raise _unreadable(Path(self.path), error) from error


class DataPlanner(DefaultLoadPlanner):
    """`DefaultLoadPlanner` whose numbers are numbers."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def create_local_plan(self) -> LoadPlan:
        """What this rank reads."""
        try:
            return super().create_local_plan()
        except _DAMAGE as error:
            raise _unreadable(self.folder, error) from error

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Takes what the state has beside its tensors, such as a counter."""
        place = self.mappings[read_item.dest_index.fqn]
        found = torch.load(value, weights_only=True)
        expected = type(get_element(self.original_state_dict, place))
        if type(found) is not expected:
            raise TypeError(f"{place[-1]} is {found!r}, which is no {expected.__name__}")
        set_element(self.original_state_dict, place, found)


def cause_of(error: CheckpointException) -> UserError | None:
    """What one rank or another has to tell the user; None if the error is none of a file."""
    causes = [cause for cause, _ in error.failures.values()]
    return next((cause for cause in causes if isinstance(cause, UserError)), None)


class _DataUnpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module, name))
        if known is not None:
            return known
        dtype = getattr(torch, name, None) if module == "torch" else None
        if isinstance(dtype, torch.dtype):
            return dtype
        raise pickle.UnpicklingError(
            f"it names {module}.{name}, which is no part of a checkpoint and was not run"
        )


def _check(found: object) -> None:
    """What was read is a list of shards, each a file in the checkpoint's own folder."""
    if not isinstance(found, described.Metadata):
        raise TypeError("it holds no list of shards")
    if not isinstance(found.storage_meta, described.StorageMeta | None):
        raise TypeError("it holds no list of shards")
    kinds = (described.TensorStorageMetadata, described.BytesStorageMetadata)
    for key, entry in found.state_dict_metadata.items():
        if not (isinstance(key, str) and isinstance(entry, kinds)):
            raise TypeError(f"{key} is neither a tensor nor a number")
    for index, place in found.storage_data.items():
        file = place.relative_path
        if not isinstance(index, described.MetadataIndex) or Path(file).name != file:
            raise ValueError(f"{file} is no file of this folder")


def _unreadable(path: Path, error: Exception) -> UserError:
    why = str(error)
    if why.startswith("Weights only load failed"):  # and then at length how to load it all the same
        why = "it holds more than tensors and numbers, which was not run"
    return UserError(
        f"{path} cannot be read: {why}",
        "The checkpoint is damaged, or was changed after it was written: name another one, from a "
        "source you trust.",
    )
