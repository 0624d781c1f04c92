"""What one number of processes wrote, another reads; a full disk is an answer, not a crash."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch._dynamo
import torch.distributed as dist
import torch.distributed.checkpoint
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from rlinf.errors import UserError
from rlinf.models import shards
from rlinf.models.base import Policy
from rlinf.models.loading import build_policy, load_policy
from rlinf.models.mlp.config import MlpConfig
from rlinf.workers.process_group import ProcessGroup
from tests.unit.workers.ranks import Tell, in_ranks

CONFIG = MlpConfig(model_type="mlp", obs_dim=6, action_dim=3, num_action_chunks=2, hidden_dim=7)


def checkpoint_of(policy: Policy, folder: Path) -> Path:
    """A checkpoint with the weights of a policy."""
    state = {shards.POLICY: shards.weights_of(policy)}
    assert shards.problem_of(shards.begin_to_write(state, folder / shards.FOLDER, None)) is None
    return folder


def assert_same(one: Policy, other: Policy) -> None:
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_a_policy_is_started_from_a_checkpoint(tmp_path: Path, recwarn: pytest.WarningsRecorder):
    policy = build_policy(CONFIG, seed=1)
    folder = checkpoint_of(policy, tmp_path)
    assert shards.is_written(folder)
    recwarn.clear()
    assert_same(build_policy(CONFIG, seed=2, checkpoint=folder), policy)
    assert not [each for each in recwarn if "torch.distributed" in str(each.message)]


def test_the_state_may_change_as_soon_as_the_writing_has_begun(tmp_path: Path):
    tensor = torch.arange(2_000_000.0)
    state = {shards.POLICY: {"weight": tensor}, "version": 3}
    writing = shards.begin_to_write(state, tmp_path / "actor", None)
    tensor.zero_()
    assert shards.problem_of(writing) is None
    found = {shards.POLICY: {"weight": torch.empty(2_000_000)}, "version": 0}
    shards.read(found, tmp_path / "actor", alone=True)
    assert torch.equal(found[shards.POLICY]["weight"], torch.arange(2_000_000.0))
    assert found["version"] == 3


def test_frozen_weights_are_not_in_it(tmp_path: Path):
    policy = build_policy(CONFIG, seed=1)
    policy.mean.requires_grad_(False)
    folder = checkpoint_of(policy, tmp_path)
    started = build_policy(CONFIG, seed=2)
    started.mean.requires_grad_(False)
    mean = started.mean[0].weight.clone()
    load_policy(started, folder)
    assert torch.equal(started.mean[0].weight, mean)
    assert torch.equal(started.value_head[0].weight, policy.value_head[0].weight)


def test_another_policy_is_refused_by_name_and_shape(tmp_path: Path):
    folder = checkpoint_of(build_policy(CONFIG, seed=1), tmp_path)
    wider = CONFIG.model_copy(update={"hidden_dim": 8})
    with pytest.raises(UserError, match=r"mean.0.bias is \(7,\) there and \(8,\) here") as error:
        build_policy(wider, seed=1, checkpoint=folder)
    assert "config.json" in error.value.fix


@pytest.mark.parametrize(("writers", "readers"), [(3, 2), (2, 1), (1, 2)])
def test_other_numbers_of_ranks_read_what_some_wrote(tmp_path: Path, writers: int, readers: int):
    """A matrix whose rows no number of ranks divides."""
    matrix = torch.arange(35.0).view(7, 5)

    def shard(world: int, tell: Tell, rank: int) -> torch.Tensor:
        ranks = ProcessGroup(rank, world)
        ranks.connect(tell(ranks.open_rendezvous("127.0.0.1") if rank == 0 else None), 30)
        return distribute_tensor(matrix, init_device_mesh("cpu", (world,)), [Shard(0)])

    def write(rank: int, tell: Tell) -> str | None:
        state = {shards.POLICY: {"weight": shard(writers, tell, rank)}, "version": 5}
        group = torch.distributed.new_group(backend="gloo")
        return shards.problem_of(shards.begin_to_write(state, tmp_path / "actor", group))

    def read(rank: int, tell: Tell) -> tuple[list[list[float]], int]:
        empty = shard(readers, tell, rank)
        empty.zero_()
        state = {shards.POLICY: {"weight": empty}, "version": 0}
        shards.read(state, tmp_path / "actor", alone=not dist.is_initialized())
        assert isinstance(empty, DTensor)
        return empty.full_tensor().tolist(), state["version"]

    assert in_ranks(writers, write) == [None] * writers
    assert in_ranks(readers, read) == [(matrix.tolist(), 5)] * readers


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Makes every write beyond `size` bytes fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_reported_and_nothing_counts_as_written(tmp_path: Path):
    state = {shards.POLICY: {"weight": torch.zeros(1_000_000)}}
    with files_limited_to(100_000):
        problem = shards.problem_of(shards.begin_to_write(state, tmp_path / "actor", None))
    assert problem is not None and "File too large" in problem
    assert not shards.is_written(tmp_path)
