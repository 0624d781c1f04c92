"""Files from strangers are data: no reader runs code that one of them names.

Each reader gets a file that would leave a mark where its pickle is loaded. Checkpoints come with a
manifest that agrees with the hostile file, as its author would see to.
"""

from __future__ import annotations

import ast
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.distributed.checkpoint import FileSystemWriter
from torch.distributed.checkpoint import save as save_shards

import rlinf
from rlinf.config.load import load
from rlinf.errors import UserError
from rlinf.imitation.lerobot.read import DataSet
from rlinf.imitation.lerobot.write import Writer
from rlinf.models import shards
from rlinf.models.files import read_tensors, read_torch_tensors
from rlinf.models.loading import build_policy
from rlinf.models.openvla_oft.proprio import ProprioProjector
from rlinf.models.shards import CONFIG_FILE
from rlinf.runners import checkpoint
from rlinf.runners.export import export
from rlinf.runners.saving import unpack_states
from tests.unit.imitation.recorded import episode


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.mark), "w")


def write_shards(folder: Path, state: dict[str, Any]) -> Path:
    """Torch's own writer in the foreground, which copies nothing and so keeps a bomb whole."""
    actor = folder / shards.FOLDER
    save_shards(state, storage_writer=FileSystemWriter(actor), no_dist=True)
    return actor


def checkpoint_list(folder: Path, bomb: Bomb) -> None:
    """`rlinf export` of a checkpoint whose list of shards is a bomb."""
    log_path = f"runner.logger.log_path={folder / 'run'}"
    config = load("toy_ppo_mlp", [log_path, "actor.model.hidden_dim=8"]).config

    def write(building: Path) -> None:
        policy = build_policy(config.actor.model, seed=1)
        actor = write_shards(building, {shards.POLICY: shards.weights_of(policy)})
        (actor / ".metadata").write_bytes(pickle.dumps(bomb))
        (building / CONFIG_FILE).write_text(json.dumps(config.model_dump(mode="json")))

    checkpoint.save(folder / "run/checkpoints", 3, write, keep=1)
    export(folder / "run/checkpoints/latest", folder / "out", adapter=False)


def checkpoint_number(folder: Path, bomb: Bomb) -> None:
    weights = {"weight": torch.zeros(2)}
    actor = write_shards(folder, {shards.POLICY: weights, "version": bomb})
    shards.read({shards.POLICY: weights, "version": 0}, actor, alone=True)


def checkpoint_tensor(folder: Path, bomb: Bomb) -> None:
    state = {shards.POLICY: {"weight": torch.zeros(2)}}
    actor = write_shards(folder, state)
    torch.save(bomb, actor / "other")
    listed = pickle.loads((actor / ".metadata").read_bytes())
    size = (actor / "other").stat().st_size
    listed.storage_data = {
        key: replace(place, relative_path="other", offset=0, length=size)
        for key, place in listed.storage_data.items()
    }
    (actor / ".metadata").write_bytes(pickle.dumps(listed))
    shards.read(state, actor, alone=True)


def weights_of_torch(folder: Path, bomb: Bomb) -> None:
    torch.save({"weight": bomb}, folder / "pytorch_model.bin")
    read_torch_tensors(folder / "pytorch_model.bin")


def weights_of_old_torch(folder: Path, bomb: Bomb) -> None:
    torch.save(bomb, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    read_torch_tensors(folder / "pytorch_model.bin")


def plain_pickle(folder: Path, bomb: Bomb) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(bomb))
    read_torch_tensors(folder / "pytorch_model.bin")


def safetensors(folder: Path, bomb: Bomb) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(bomb))
    read_tensors(folder / "model.safetensors")


def proprio_projector(folder: Path, bomb: Bomb) -> None:
    torch.save({"fc1.weight": bomb}, folder / "proprio_projector--1_checkpoint.pt")
    ProprioProjector({"q01": [0.0], "q99": [1.0]}, 4).read(folder)


def libero_start_states(folder: Path, bomb: Bomb) -> None:
    pytest.importorskip("libero")
    from rlinf.envs.libero.suites import SuiteTask

    torch.save(np.array([bomb] * 50), folder / "states")
    SuiteTask("libero_spatial", "do it", folder / "problem", folder / "states").init_states()


def running_episodes(folder: Path, bomb: Bomb) -> None:
    np.savez(folder / "episodes.npz", actions=np.array([bomb], object), lengths=np.array([1]))
    unpack_states(folder / "episodes.npz")


def demonstrations(folder: Path, bomb: Bomb) -> None:
    """An extension type of Arrow, which older versions of it unpickled, in every column."""
    writer = Writer(folder / "set", 20, "png")
    writer.add(episode(0, 3))
    root = writer.close()
    for path in root.glob("*/**/*.parquet"):
        table = pq.read_table(path)
        hostile = {
            "ARROW:extension:name": "arrow.py_extension_type",
            "ARROW:extension:metadata": pickle.dumps(bomb),
        }
        fields = [pa.field(f.name, pa.binary(), metadata=hostile) for f in table.schema]
        arrays = [pa.array([pickle.dumps(bomb)] * len(table)) for _ in fields]
        pq.write_table(pa.Table.from_arrays(arrays, schema=pa.schema(fields)), path)
    DataSet(str(root)).read_rows()


def configuration(folder: Path, bomb: Bomb) -> None:
    text = f"runner: !!python/object/apply:builtins.open ['{bomb.mark}', 'w']\n"
    (folder / "mine.yaml").write_text(text)
    load(str(folder / "mine.yaml"))


READERS: list[Callable[[Path, Bomb], None]] = [
    checkpoint_list,
    checkpoint_number,
    checkpoint_tensor,
    weights_of_torch,
    weights_of_old_torch,
    plain_pickle,
    safetensors,
    proprio_projector,
    libero_start_states,
    running_episodes,
    demonstrations,
    configuration,
]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_no_reader_runs_what_a_file_names(tmp_path: Path, read: Callable[[Path, Bomb], None]):
    mark = tmp_path / "ran"
    with pytest.raises(UserError):
        read(tmp_path, Bomb(mark))
    assert not mark.exists()


def test_the_bomb_is_one(tmp_path: Path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran"))).close()
    assert (tmp_path / "ran").exists()


def test_a_checkpoint_reads_no_file_outside_its_folder(tmp_path: Path):
    state = {shards.POLICY: {"weight": torch.ones(2)}}
    elsewhere = write_shards(tmp_path / "private", state)
    actor = write_shards(tmp_path / "mine", {shards.POLICY: {"weight": torch.zeros(2)}})
    listed = pickle.loads((actor / ".metadata").read_bytes())
    listed.storage_data = {
        key: replace(place, relative_path=f"../../private/actor/{place.relative_path}")
        for key, place in listed.storage_data.items()
    }
    assert (actor / next(iter(listed.storage_data.values())).relative_path).parent.samefile(
        elsewhere
    )
    (actor / ".metadata").write_bytes(pickle.dumps(listed))
    with pytest.raises(UserError, match="is no file of this folder"):
        shards.read(state, actor, alone=True)


def test_every_file_of_torch_is_loaded_as_data():
    calls = {
        f"{path.name}:{node.lineno}": node
        for path in Path(rlinf.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load")
    }
    assert len(calls) >= 4
    safe = {"torch.load": "weights_only=True", "np.load": "allow_pickle=False"}
    for where, call in calls.items():
        given = {ast.unparse(keyword) for keyword in call.keywords}
        assert safe[ast.unparse(call.func)] in given, where
