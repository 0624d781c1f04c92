"""Which workers are replaced after a failure; groups and cluster only note what is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rlinf.runners.worker_groups import WorkerGroups


class Group:
    def __init__(self, size: int, dead: list[int], nodes: list[int]) -> None:
        self.size, self.nodes, self.restarted = size, nodes, list[int]()
        self._dead = dead

    def __len__(self) -> int:
        return self.size

    def dead(self, timeout_s: float) -> list[int]:
        return self._dead

    def on(self, nodes: list[int]) -> list[int]:
        return [rank for rank, node in enumerate(self.nodes) if node in nodes]

    def restart(self, ranks: list[int]) -> None:
        self.restarted = ranks


def groups(*lost_nodes: int, **dead: list[int]) -> WorkerGroups:
    """Three ranks of each component, rank i on node i."""
    found = WorkerGroups.__new__(WorkerGroups)
    found.cluster = SimpleNamespace(replace_lost=lambda on_poll: list(lost_nodes))
    for name in ("env", "rollout", "actor"):
        setattr(found, name, Group(3, dead.get(name, []), [0, 1, 2]))
    return found


@pytest.mark.parametrize(
    ("found", "broken", "replaced"),
    [
        (groups(), [], {"env": [], "rollout": [], "actor": []}),
        (groups(env=[1], rollout=[2]), [], {"env": [1], "rollout": [2], "actor": []}),
        (groups(actor=[1]), [], {"env": [], "rollout": [], "actor": [0, 1, 2]}),
        (groups(env=[0]), ["env"], {"env": [0, 1, 2], "rollout": [], "actor": []}),
        (groups(), ["actor"], {"env": [], "rollout": [], "actor": [0, 1, 2]}),
        (groups(2, env=[0]), [], {"env": [0, 2], "rollout": [2], "actor": [0, 1, 2]}),
    ],
    ids=["none", "single ranks", "actor together", "all envs", "all actors", "those of a node"],
)
def test_failed_workers_are_replaced_and_actor_ranks_only_together(
    found: WorkerGroups, broken: list[Any], replaced: dict[Any, list[int]]
):
    nodes, new = found.replace_failed(broken, 1.0, lambda: None)
    assert new == replaced
    assert {name: group.restarted for name, group in found} == replaced
    assert nodes == found.cluster.replace_lost(lambda: None)
