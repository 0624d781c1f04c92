from __future__ import annotations

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from rlinf.config.placement import ProcessPlacement
from rlinf.data.shared import Handle, SharedMemory
from rlinf.errors import UserError
from rlinf.runners.kept import KeptState
from rlinf.workers.keeper import allocate


class Keepers:
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


def test_a_launcher_that_owns_the_memory_gives_each_rank_its_own():
    kept = KeptState(on_nodes(0, 0), None)
    first, second = kept.handles(lambda: [3, 5], at_once)
    SharedMemory.open(first, writable=True).array[:] = 1
    assert (first.size, second.size) == (3, 5)
    assert not SharedMemory.open(second).array.any()
    assert kept.handles(lambda: [], at_once) == [first, second]  # those there are
    assert not kept.repair([0], 1.0)  # a launcher that is gone repairs nothing


def test_each_node_has_a_keeper_for_its_ranks():
    kept = KeptState(on_nodes(2, 0, 2), Keepers)
    handles = kept.handles(lambda: [10, 20, 30], at_once)
    assert [handle.size for handle in handles] == [10, 20, 30]
    keepers: Any = kept._keepers
    assert [(p.rank, p.node, p.kind, p.node_group) for p in keepers.placements] == [
        (0, 0, "cpu", "group 0"),
        (1, 2, "cpu", "group 2"),
    ]
    assert [[m.handle.size for m in of_node] for of_node in keepers.memory[0]] == [[20], [10, 30]]


@pytest.mark.parametrize(("dead", "lost"), [([1], []), ([], [2])])
def test_what_a_keeper_held_is_gone_with_it(dead: list[int], lost: list[int]):
    kept = KeptState(on_nodes(0, 2), Keepers)
    before = kept.handles(lambda: [4, 4], at_once)
    kept.whole = True
    keepers: Any = kept._keepers
    assert not kept.repair([1], 1.0) and kept.whole  # another node
    keepers.gone = dead
    assert kept.repair(lost, 1.0)
    assert keepers.restarted == [1] and not kept.whole
    after = kept.handles(lambda: [4, 4], at_once)
    assert not {h.descriptor for h in after} & {h.descriptor for h in before}


def test_memory_that_the_machine_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch):
    message = "recovery_memory_gb: no memory for a copy of 2.00 GB .* Cannot allocate memory"
    few = SimpleNamespace(available=10**9)
    monkeypatch.setattr("rlinf.data.shared.control_groups.memory", lambda: few)
    with pytest.raises(UserError, match=message):
        allocate([2 * 10**9])
