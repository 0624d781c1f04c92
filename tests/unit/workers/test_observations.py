"""Where the observations of a batch are read, and that an update does not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlinf.config.schema import Config
from rlinf.data.types import Observation, TrainBatch, Wanted
from rlinf.workers.actor import ActorWorker
from rlinf.workers.observations import BatchObservations, rows_of
from tests.unit.workers.conftest import N, batch_for, weights_of
from tests.unit.workers.ranks import in_ranks
from tests.unit.workers.test_policy_parallel import MLP

ConfigOf = Callable[..., Config]


class Store:
    """The observations of a node, by reference, and the nodes that are asked for rows of theirs."""

    def __init__(self, seen: dict[str, Observation], others: dict[int, Store] | None = None):
        self.seen, self.others = seen, others or {}
        self.fetched: list[str] = []
        self.asked: list[int] = []  # rows, of each request

    def fetch(self, references: Sequence[Any]) -> list[Observation]:
        self.fetched += references
        return [self.seen[reference] for reference in references]

    def ask(self, wanted: Sequence[Wanted]) -> list[Observation]:
        self.asked += [len(one.rows) for one in wanted]
        return [rows_of(self.others[one.node].fetch, one) for one in wanted]


def on_two_nodes(batch: TrainBatch, first: int) -> tuple[TrainBatch, list[Store]]:
    """The first samples' observations lie on node 0, the others' on node 1."""
    (seen,) = batch.observations
    rows = np.arange(len(batch))
    parts = {"here": seen.take(rows[:first]), "there": seen.take(rows[first:])}
    stores = [Store({name: part}) for name, part in parts.items()]
    stores[0].others, stores[1].others = {1: stores[1]}, {0: stores[0]}
    objects = (rows >= first).astype(np.int64)
    return replace(
        batch,
        observations=list(parts),
        nodes=[0, 1],
        objects=objects,
        rows=rows - first * objects,
    ), stores


def test_rows_of_another_node_come_once_for_a_minibatch(config_of: ConfigOf):
    batch = batch_for(config_of(MLP))
    (everything,) = batch.observations
    spread, (store, other) = on_two_nodes(batch, 12)
    seen = BatchObservations(spread, [0, 1], 0, store.fetch, store.ask)
    assert store.fetched == ["here"] and not other.fetched
    for minibatch, asked in (
        (np.array([3, 20, 1, 15]), [2]),
        (np.array([0, 20, 22, 12]), [2, 3]),
        (np.array([5, 2]), [2, 3]),  # all of it is here
    ):
        seen.bring(minibatch)
        for rows in (minibatch[:2], minibatch[2:], minibatch[1:1]):
            found, expected = seen.take(rows), everything.take(rows)
            assert np.array_equal(found.images, expected.images)
            assert np.array_equal(found.state, expected.state)
            assert found.instructions == expected.instructions
        assert store.asked == asked
    assert store.fetched == ["here"]


def test_what_is_its_own_reference_is_everywhere(config_of: ConfigOf):
    batch = replace(batch_for(config_of(MLP)), nodes=[1])
    seen = BatchObservations(batch, [0, 1], 0, list, None)
    assert np.array_equal(seen.take(np.array([7])).state, batch.observations[0].state[7:8])


@pytest.mark.parametrize("first", [N // 2, 3])
@pytest.mark.parametrize("sharding", ["no_shard", "full_shard"])
def test_an_update_does_not_depend_on_where_observations_lie(
    config_of: ConfigOf, tmp_path: Path, first: int, sharding: str
):
    """With 3 of 23 samples on a node, most of what its rank computes comes from the other."""
    config = config_of(MLP, 0.1, sharding_strategy=sharding).with_micro_batches(4)
    batch = batch_for(config)
    spread, stores = on_two_nodes(batch, first)

    def work(rank: int, tell: Any) -> tuple[np.ndarray | None, list[str], list[int]]:
        store = stores[rank]
        shards = 2 if sharding == "full_shard" else 1
        actor = ActorWorker(config, rank, 2, 1, 8, store.fetch, str(tmp_path), shards, nodes=[0, 1])
        actor.connect(tell(actor.open_rendezvous("127.0.0.1") if rank == 0 else None))
        actor.use_peers(store.ask)
        actor.update(spread, 0)
        actor.weights(None)
        weights = weights_of(actor) if rank == 0 else None
        actor.ranks.leave()
        return weights, store.fetched, store.asked

    alone = ActorWorker(config, 0, 1, 1, 8, list, str(tmp_path))
    alone.update(batch, 0)
    (weights, *here), (_, *there) = in_ranks(2, work)
    expected = weights_of(alone)
    assert weights is not None
    np.testing.assert_allclose(weights.view(np.float32), expected.view(np.float32), atol=1e-6)
    assert here[0] == ["here"] and there[0] == ["there"]  # nothing comes whole
    share = -(-N // 2)
    lacking = share - first if first < share else 0
    assert sum(here[1]) in (2 * lacking, 2 * lacking + 1) and sum(there[1]) <= 2
