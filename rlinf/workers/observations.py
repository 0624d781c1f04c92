"""What an actor rank reads of the observations of a batch: those of its node, and some others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rlinf.data.layout import ObservationTable, homes
from rlinf.data.types import Observation, TrainBatch, Wanted

Fetch = Callable[[Sequence[Any]], Sequence[Observation]]


Ask = Callable[[Sequence[Wanted]], Sequence[Observation]]


class BatchObservations:
    """Observations whose home is this node are read in place, as often as they are needed. Of all
    others only the rows that this rank computes come here, those of a minibatch at a time.
    """

    def __init__(
        self, batch: TrainBatch, ranks: Sequence[int], node: int, fetch: Fetch, ask: Ask | None
    ) -> None:
        """
        Args:
            ranks: node of each actor rank.
            node: of this rank.
            fetch: turns references into observations; from another node they come whole.
            ask: gets rows from other nodes, in the order in which they are wanted.
        """
        self._batch, self._node, self._ask = batch, node, ask
        trained = np.bincount(batch.objects[batch.trained], minlength=len(batch.observations))
        self._homes = homes(batch.nodes, trained, ranks)
        # A small observation is its own reference, and so is everywhere.
        inside = [isinstance(one, Observation) for one in batch.observations]
        here = np.flatnonzero((self._homes == node) | np.array(inside, bool))
        near = fetch([batch.observations[index] for index in here])
        place = np.full(len(batch.observations), -1, np.int64)
        place[here] = np.arange(len(here))
        self._objects = place[batch.objects]  # [N], index into the table; -1: it is elsewhere
        self._rows = batch.rows.copy()
        self._brought = np.zeros(0, np.int64)  # samples whose rows came from other nodes
        self._near, self._table = len(near), ObservationTable(near)

    def homes(self, samples: np.ndarray) -> np.ndarray:
        """The node where the observation of each sample is read in place: [n] int64."""
        return self._homes[self._batch.objects[samples]]

    def bring(self, samples: np.ndarray) -> None:
        """Gets the rows of some samples ([n] int64) from other nodes; those of before are dropped.

        Nothing is asked for where all are here.
        """
        lacking = np.unique(samples[self._objects[samples] < 0])
        if not len(lacking):
            return
        assert self._ask is not None, "an observation of another node, and no way to it"
        kept = self._brought[np.isin(self._brought, samples)]
        lacking = np.union1d(lacking, kept)
        self._objects[self._brought] = -1
        wanted, which = [], []
        for node in np.unique(self.homes(lacking)).tolist():
            mine = lacking[self.homes(lacking) == node]
            present, objects = np.unique(self._batch.objects[mine], return_inverse=True)
            references = [self._batch.observations[index] for index in present.tolist()]
            wanted.append(Wanted(node, references, objects, self._batch.rows[mine]))
            which.append(mine)
        came = self._ask(wanted)
        for index, mine in enumerate(which):
            self._objects[mine] = self._near + index
            self._rows[mine] = np.arange(len(mine))
        self._brought = lacking
        self._table.replace_from(self._near, came)

    def take(self, samples: np.ndarray) -> Observation:
        """What the samples ([n] int64) were acted on."""
        self.bring(samples)
        return self._table.take(self._objects[samples], self._rows[samples])


def rows_of(fetch: Fetch, wanted: Wanted) -> Observation:
    """What a rank of the node answers that such rows are asked of."""
    return ObservationTable(fetch(wanted.references)).take(wanted.objects, wanted.rows)
