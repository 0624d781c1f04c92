"""Tells Ray which GPUs of a node a run computes on, so that other jobs of the cluster get others.

Workers choose their devices themselves and ask Ray for none, since two of them may share one. For
each node an idle process asks in their place. Ray gives GPUs by its own order; where a run uses
some of a node's, one after the other is asked for, and those it does not use are given back.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import ray
from ray.exceptions import GetTimeoutError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rlinf import devices
from rlinf.errors import UserError

CLAIM_S = 60.0  # longest wait for GPUs that another job has
_STAYS = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"


@ray.remote(num_cpus=0)
class _Holder:
    """Holds GPUs as long as it lives."""

    def indices(self) -> list[int]:
        """Those it has, by their place among the ones that the node shows."""
        given = [str(one) for one in ray.get_runtime_context().get_accelerator_ids()["GPU"]]
        shown = devices.listed(os.environ.get(devices.VARIABLE))
        return [int(one) if shown is None else shown.index(one) for one in given]


class Claims:
    """The GPUs that this run has asked Ray for, by node rank; they go back when it ends."""

    def __init__(self) -> None:
        self._holders: dict[int, list[Any]] = {}

    def take(self, rank: int, node_id: str, wanted: Collection[int], present: int) -> None:
        """Asks for some GPUs of a node.

        Args:
            rank: of the node; what was asked for in its place before is given back.
            node_id: as Ray names it.
            wanted: indices of the GPUs.
            present: GPUs of the node.

        Raises:
            UserError: another job of the cluster has one of them.
        """
        for holder in self._holders.pop(rank, []):
            ray.kill(holder)
        if not wanted:
            return
        kept, others, lacking = [], [], set(wanted)
        whole = len(lacking) == present
        try:
            while lacking:
                holder = _Holder.options(  # type: ignore[attr-defined]
                    num_gpus=present if whole else 1,
                    runtime_env={"env_vars": {_STAYS: "1"}},
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
                ).remote()
                others.append(holder)  # until it is known to have one that is wanted
                given = set(ray.get(holder.indices.remote(), timeout=CLAIM_S))
                if given & lacking:
                    kept.append(others.pop())
                lacking -= given
        except GetTimeoutError:
            others += kept
            missing = ", ".join(map(str, sorted(lacking)))
            raise UserError(
                f"node {rank}: Ray did not give GPU {missing} within {CLAIM_S:g} s; another job of "
                "its cluster has it, unless the machine is too busy to start a process meanwhile",
                "wait until the job ends, or place this run elsewhere "
                "(cluster.component_placement)",
            ) from None
        finally:
            for holder in others:
                ray.kill(holder)
        self._holders[rank] = kept
