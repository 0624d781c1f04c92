"""Weights that stay on a GPU: on the stand-in, with a fake of CUDA's handles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from rlinf.config.derive import sources_on_device
from rlinf.config.placement import ProcessPlacement
from rlinf.config.schema import Config
from rlinf.data.types import DeviceHandle
from rlinf.runners.workers import Workers
from rlinf.workers import device_memory
from rlinf.workers.actor import ActorWorker
from rlinf.workers.rollout import RolloutWorker
from tests.unit.workers.stand_in import process_with_gpu


@pytest.fixture(scope="module")
def gpu() -> Iterator[Executor]:
    with process_with_gpu() as process:
        yield process


def on(*places: tuple[int, int]) -> list[ProcessPlacement]:
    return [
        ProcessPlacement(rank, node, (index,), "accelerator", "")
        for rank, (node, index) in enumerate(places)
    ]


def test_weights_stay_on_a_gpu_where_each_rollout_rank_has_an_actor_rank_on_it():
    actors = on((0, 0), (0, 1), (1, 0))
    assert sources_on_device(actors, on((1, 0), (0, 0))) == [2, 0]
    assert sources_on_device(actors, on((1, 0), (1, 1))) == []
    on_cpu = [ProcessPlacement(0, 0, (0,), "cpu", "")]
    assert sources_on_device(on_cpu, on_cpu) == []


@pytest.mark.parametrize("seen", [device_memory.MARK, bytes(64), None])
def test_memory_is_shared_only_if_the_reader_finds_the_mark(
    seen: bytes | None, monkeypatch: pytest.MonkeyPatch
):
    def attach(handle: Any) -> torch.Tensor:
        if seen is None:
            raise RuntimeError("CUDA error: invalid device context")
        return torch.tensor(list(seen), dtype=torch.uint8)

    monkeypatch.setattr(device_memory, "attach", attach)
    assert device_memory.works("handle") == (seen == device_memory.MARK)


def test_weights_reach_the_rollout_within_the_gpu_and_their_memory_is_freed(
    gpu: Executor, toy: Callable[..., Config], tmp_path: Path
):
    sent, arrived, freed = gpu.submit(send, toy(), tmp_path).result()
    assert np.array_equal(sent, arrived) and sent.any()
    assert freed == ["collected"]


def send(config: Config, folder: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The actor's weights and what the rollout has of them; both are on the stand-in."""
    freed: list[str] = []
    fakes = {
        "export": lambda tensor: tensor,  # processes of one GPU see the same memory
        "attach": lambda handle: handle,
        "free": lambda device: room.pop(0),
        "collect": lambda: freed.append("collected"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, fake in fakes.items():
            patch.setattr(device_memory, name, fake)
        patch.setattr(torch.cuda, "synchronize", lambda: None)
        actor = ActorWorker(config, 0, 1, 1, 8, list, str(folder))
        acting = RolloutWorker(with_another_seed(config), 0, 1, str(folder))
        room = [2 * actor.layout.size - 1, 2 * actor.layout.size]
        assert not acting.try_device_memory(actor.try_device_memory())  # too little is free
        assert acting.try_device_memory(actor.try_device_memory())
        first, second = actor.weights_on_device(2)
        assert isinstance(first.data, DeviceHandle)
        assert acting.load_weights(first) == acting.load_weights(second) == 0
        actor.free_device_memory()
        near, _ = actor.weights(None) or (None, None)
        assert near is not None
        assert actor._shared is not None
        return actor._shared.array.copy(), acting.joined.cpu().numpy().copy(), freed


def with_another_seed(config: Config) -> Config:
    """A rollout that starts with other weights."""
    actor = config.actor.model_copy(update={"seed": config.actor.seed + 1})
    return config.model_copy(update={"actor": actor})


class Group:
    """Ranks that note what is asked of them."""

    def __init__(self, asked: list[str], answer: Callable[[str, int], Any], ranks: int) -> None:
        self.asked, self.answer, self.ranks = asked, answer, ranks

    def __len__(self) -> int:
        return self.ranks

    def call_some(self, ranks: list[int], method: str, *arguments: Any) -> list[Any]:
        self.asked.append(f"{method} {ranks[0]}")
        return [self.answer(method, rank) for rank in ranks]


@pytest.mark.parametrize("second_can", [True, False])
def test_one_rollout_rank_that_cannot_read_a_gpus_memory_sends_all_weights_through_the_host(
    second_can: bool,
):
    asked: list[str] = []
    workers = Workers.__new__(Workers)
    workers._groups = SimpleNamespace(sources_on_device=[1, 0])
    workers.actor = Group(asked, lambda method, rank: "handle", 2)
    workers.rollout = Group(asked, lambda method, rank: rank == 0 or second_can, 2)
    workers._wait = lambda answers: answers
    assert workers._try_device_memory() == ([1, 0] if second_can else [])
    assert asked == [f"try_device_memory {rank}" for rank in (1, 0, 0, 1)]
