"""Weights and optimizer on the disk, every rank writing what it holds (torch's distributed
checkpoint). What one number of ranks wrote, any other number can read.

Weights that no training changes are not in it: they come from where the run took them. The policy
that training started from is in it where the loss has a KL term, whose reference policy it is.
"""

from __future__ import annotations

import warnings
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlinf.errors import UserError

# Torch takes seconds to import, and its distributed checkpoint as long again: only those who read
# or write do, not those who look what is there.
if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import ProcessGroup

    from rlinf.models.base import Policy
    from rlinf.models.shard_reader import DataReader

FOLDER = "actor"
"""Of the shards, in a checkpoint."""
REFERENCE = "reference"
"""Of the shards of the reference policy, in a checkpoint."""
CONFIG_FILE = "config.json"
"""Of the configuration, in a checkpoint."""
POLICY = "policy"
"""Key of the policy's weights."""
State = dict[str, Any]


def weights_of(policy: Policy) -> dict[str, Tensor]:
    """What training changes, by name: trained parameters and buffers. No copies."""
    frozen = {name for name, p in policy.named_parameters() if not p.requires_grad}
    return {name: t for name, t in policy.state_dict().items() if name not in frozen}


def trained_of(policy: Policy) -> dict[str, Tensor]:
    """The trained parameters by name. No copies."""
    trained = {name for name, p in policy.named_parameters() if p.requires_grad}
    return {name: t for name, t in policy.state_dict().items() if name in trained}


def begin_to_write(state: State, folder: Path, group: ProcessGroup | None) -> Future[Any]:
    """Copies a state to host memory and writes it in the background; every rank takes part.

    Args:
        state: nested tensors, and numbers that all ranks agree on. It may change afterwards.
        group: the ranks; apart from the one they train with. None for one process.
    """
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import async_save

    writing = async_save(
        state,
        storage_writer=FileSystemWriter(folder, sync_files=True),
        process_group=group,
        no_dist=group is None,
    )
    assert isinstance(writing, Future)
    return writing


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a checkpoint, rather than a policy folder."""
    return (folder / FOLDER).is_dir()


def has_reference(checkpoint: Path) -> bool:
    """Whether a checkpoint holds the reference policy of a KL term."""
    return (checkpoint / REFERENCE).is_dir()


def is_written(checkpoint: Path) -> bool:
    """Whether all ranks have written: the list of all shards, which comes last, is there."""
    return (checkpoint / FOLDER / ".metadata").is_file()


def problem_of(writing: Future[Any]) -> str | None:
    """Waits for the writing to end: None if all is on the disk, else what kept it from that.

    Torch reports a full disk as an error of its own, which has the disk's as a cause.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        writing.result()
    except CheckpointException as error:
        causes: list[BaseException] = [cause for cause, _ in error.failures.values()]
        while causes:
            cause = causes.pop()
            if isinstance(cause, OSError) or cause.__context__ is None:
                return f"{type(cause).__name__}: {cause}"
            causes.append(cause.__context__)
        return str(error)
    except OSError as error:
        return str(error)
    return None


def read(state: State, folder: Path, alone: bool) -> None:
    """Copies what `begin_to_write` wrote into the tensors of a state of the same names.

    Numbers are replaced in the dictionary.

    Args:
        alone: this process reads all of it; otherwise every rank takes part.

    Raises:
        UserError: the state is that of another policy, or the files are damaged or hold anything
            but data.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_loader import load

    from rlinf.models.shard_reader import DataPlanner, DataReader, cause_of

    reader = DataReader(folder)
    _check_fit(state[POLICY], reader, folder)
    try:
        with warnings.catch_warnings():  # that one process reads alone is what is wanted
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            load(state, storage_reader=reader, planner=DataPlanner(folder), no_dist=alone)
    except CheckpointException as error:
        raise cause_of(error) or error from error


def _check_fit(weights: dict[str, Tensor], reader: DataReader, folder: Path) -> None:
    """Names and shapes are those that were written."""
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    stored = {
        key.removeprefix(f"{POLICY}."): tuple(entry.size)
        for key, entry in reader.read_metadata().state_dict_metadata.items()
        if key.startswith(f"{POLICY}.") and isinstance(entry, TensorStorageMetadata)
    }
    here = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    differing = sorted(name for name in stored.keys() | here if stored.get(name) != here.get(name))
    if differing:
        name = differing[0]
        raise UserError(
            f"the policy in {folder} does not fit actor.model: {name} is "
            f"{stored.get(name, 'missing')} there and {here.get(name, 'missing')} here"
            + (f", and {len(differing) - 1} more differ" if len(differing) > 1 else ""),
            f"Use the model section the policy was trained with; it is in "
            f"{folder.parent / CONFIG_FILE}.",
        )
