from __future__ import annotations

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from rlinf.config.placement import ProcessPlacement
from rlinf.data.shared import Handle, SharedMemory
from rlinf.errors import UserError, WorkerFailed
from rlinf.runners.host_copy import HostCopy, allocate


class Actor:
    """Stands in for the actor ranks, which need Ray: notes the memory that each is given."""

    def __init__(self, *sizes: int) -> None:
        self.sizes, self.memory, self.read, self.failure = list(sizes), [], 0, None

    def call(self, method: str) -> Any:
        if method == "host_copy_bytes":
            return self.sizes
        assert method in ("write_host_copy", "read_host_copy")
        self.read += method == "read_host_copy"
        return SimpleNamespace(result=self.result)

    def result(self, timeout_s: float | None = None) -> None:
        if self.failure is not None:
            raise self.failure

    def call_each(self, method: str, arguments: Sequence[tuple[Handle]]) -> None:
        assert method == "use_host_copy"
        self.memory = [handle for (handle,) in arguments]


class Owners:
    """Stands in for the processes, which need Ray: the memory is this process's."""

    def __init__(self, placements: Sequence[ProcessPlacement]) -> None:
        self.placements, self.memory, self.gone, self.restarted = placements, [], [], []

    def call_each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[list[Handle]]:
        assert method == "allocate" and len(arguments) == len(self.placements)
        self.memory += [made := [allocate(sizes) for (sizes,) in arguments]]
        return [[memory.handle for memory in of_node] for of_node in made]

    def dead(self, timeout_s: float) -> list[int]:
        return self.gone

    def on(self, nodes: Collection[int]) -> list[int]:
        return [placed.rank for placed in self.placements if placed.node in nodes]

    def restart(self, ranks: Sequence[int]) -> None:
        self.restarted += ranks


def on_nodes(*nodes: int) -> list[ProcessPlacement]:
    return [
        ProcessPlacement(rank, node, (rank,), "accelerator", f"group {node}")
        for rank, node in enumerate(nodes)
    ]


def at_once(answers: Any) -> Any:
    return answers


def copy_of(actor: Actor, launch: Any, *nodes: int) -> Any:
    ranks: Any = actor
    return HostCopy(ranks, on_nodes(*nodes), launch)


def test_a_launcher_that_owns_the_memory_gives_each_rank_its_own():
    actor = Actor(3, 5)
    copy = copy_of(actor, None, 0, 0)
    copy.attach(at_once)
    first, second = actor.memory
    SharedMemory.open(first, writable=True).array[:] = 1
    assert (first.size, second.size) == (3, 5)
    assert not SharedMemory.open(second).array.any()
    actor.sizes = []  # ranks that replace others are given the memory there is
    copy.attach(at_once)
    assert actor.memory == [first, second]
    assert not copy.repair([0], 1.0)  # a launcher that is gone repairs nothing


def test_each_node_has_an_owner_of_the_memory_of_its_ranks():
    actor = Actor(10, 20, 30)
    copy = copy_of(actor, Owners, 2, 0, 2)
    copy.attach(at_once)
    assert [handle.size for handle in actor.memory] == [10, 20, 30]
    owners = copy._owners
    assert [(p.rank, p.node, p.kind, p.node_group) for p in owners.placements] == [
        (0, 0, "cpu", "group 0"),
        (1, 2, "cpu", "group 2"),
    ]
    assert [[m.handle.size for m in of_node] for of_node in owners.memory[0]] == [[20], [10, 30]]


@pytest.mark.parametrize(("dead", "lost"), [([1], []), ([], [2])])
def test_a_copy_is_gone_with_the_owner_of_its_memory(dead: list[int], lost: list[int]):
    actor = Actor(4, 4)
    copy = copy_of(actor, Owners, 0, 2)
    copy.attach(at_once)
    before = actor.memory
    copy.write()
    owners = copy._owners
    assert not copy.repair([1], 1.0) and copy.exists  # another node
    owners.gone = dead
    assert copy.repair(lost, 1.0)
    assert owners.restarted == [1] and not copy.exists
    assert not copy.read(1.0) and actor.read == 0
    copy.attach(at_once)
    assert not {h.descriptor for h in actor.memory} & {h.descriptor for h in before}


def test_a_copy_counts_only_if_every_rank_has_completed_it():
    actor = Actor(4)
    copy = copy_of(actor, None, 0)
    assert not copy.exists and not copy.read(1.0)  # before the first iteration
    copy.write()
    assert copy.exists and copy.read(1.0) and actor.read == 1
    copy.write()
    actor.failure = WorkerFailed("while it copied")
    assert not copy.read(1.0) and actor.read == 1


def test_memory_that_the_machine_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch):
    message = "recovery_memory_gb: no memory for a copy of 2.00 GB .* Cannot allocate memory"
    few = SimpleNamespace(available=10**9)
    monkeypatch.setattr("rlinf.data.shared.control_groups.memory", lambda: few)
    with pytest.raises(UserError, match=message):
        allocate([2 * 10**9])
