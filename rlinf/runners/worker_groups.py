"""The processes of a run: which class runs where, with which arguments, and what replaces it.

The messages that are sent to them are in `workers.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from rlinf.cluster.group import FarObservations, RemotePolicy, WorkerGroup, fetch
from rlinf.cluster.nodes import Cluster
from rlinf.config.derive import Plan, answering, sources_on_device, weight_sources
from rlinf.config.memory import neighbours
from rlinf.config.placement import ProcessPlacement
from rlinf.config.process_environment import runtime_environment
from rlinf.config.schema import Component, Config
from rlinf.runners.host_copy import MEMORY_OWNER

WORKERS: dict[Component, str] = {
    "env": "rlinf.workers.env:EnvWorker",
    "rollout": "rlinf.workers.rollout:RolloutWorker",
    "actor": "rlinf.workers.actor:ActorWorker",
}


class WorkerGroups:
    """Env, rollout and actor workers of one run: launched, replaced, ended."""

    def __init__(
        self, config: Config, plan: Plan, cluster: Cluster, log_dir: str, training: bool
    ) -> None:
        """Launches all processes; their constructors run while this returns.

        Args:
            log_dir: folder of the workers' log files.
            training: whether there is an actor.
        """
        self.config = config  # of workers that are launched from now on
        self.plan, self.cluster, self.log_dir = plan, cluster, log_dir
        askers = len(plan.placement["env"]) * config.rollout.pipeline_stage_num
        merges = config.rollout.max_batch_size is not None
        self.rollout = self._launch("rollout", self._rollout_arguments, askers if merges else 1)
        # The second thread of an env worker answers while the first waits for the stages.
        self.env = self._launch("env", self._env_arguments, threads=2)
        self.actor = self._launch("actor", self._actor_arguments) if training else None

    def __iter__(self) -> Iterator[tuple[Component, WorkerGroup]]:
        """All, in the order in which they are launched: env workers get the rollout's handles."""
        yield "rollout", self.rollout
        yield "env", self.env
        if self.actor is not None:
            yield "actor", self.actor

    def replace_failed(
        self, broken: Collection[Component], timeout_s: float, on_poll: Callable[[], None]
    ) -> tuple[list[int], dict[Component, list[int]]]:
        """Launches workers in place of those that exited, that hang, or whose machine is gone.

        Where a machine is gone, its workers start on another one, as soon as there is one. Actor
        ranks hold one state together: if one failed, all are replaced.

        Args:
            broken: components of which every worker is replaced.
            timeout_s: longest wait for an answer of a worker.
            on_poll: called while it waits for a machine; may raise to give the wait up.

        Returns:
            The nodes whose machine is another one now, and the new ranks of each component.

        Raises:
            NodeLost: no other machine joined in time.
        """
        new = {
            name: list(range(len(group))) if name in broken else group.dead(timeout_s)
            for name, group in self
        }
        nodes = self.cluster.replace_lost(on_poll)
        for name, group in self:
            new[name] = sorted({*new[name], *group.on(nodes)})
        if self.actor is not None and new["actor"]:
            new["actor"] = list(range(len(self.actor)))
        for name, group in self:
            group.restart(new[name])
        return nodes, new

    def launch_anew(self) -> dict[Component, list[int]]:
        """Launches all ranks on a Ray that was started anew, and returns them."""
        for _, group in self:
            group.launch_anew()
        return {name: list(range(len(group))) for name, group in self}

    def launch_memory_owners(self, placements: Sequence[ProcessPlacement]) -> WorkerGroup:
        """Processes that own the memory of host copies; the caller ends them."""
        return WorkerGroup(
            "host_copy",
            MEMORY_OWNER,
            placements,
            lambda rank: {"rank": rank, "log_dir": self.log_dir},
            lambda placement: runtime_environment(placement, 1, self.config.cluster.node_groups),
            self.cluster.node_ids,
        )

    def policy_for(self, rank: int) -> RemotePolicy:
        """The rollout workers as env worker `rank` sees them."""
        addresses = self.cluster.addresses
        placed, env = self.plan.placement["rollout"], self.plan.placement["env"]
        asked = answering(rank, env, placed)
        hosts = {one: addresses[placed[one].node] for one in asked}
        on_node = sum(process.node == env[rank].node for process in env[:rank])
        before = on_node if len(asked) < len(placed) else rank  # workers that ask the same ranks
        return RemotePolicy(
            {one: self.rollout.handles[one] for one in asked},
            before * self.config.rollout.pipeline_stage_num,
            self.config.runner.worker_timeout_s,
            hosts if self.cluster.several else None,
        )

    def far_observations(self) -> list[tuple[FarObservations]] | None:
        """How each actor rank gets observations of other nodes; None where all are on one."""
        handles: dict[int, list[Any]] = {}
        assert self.actor is not None, "an evaluation trains on nothing"
        for placed, handle in zip(self.plan.placement["actor"], self.actor.handles, strict=True):
            handles.setdefault(placed.node, []).append(handle)
        limit = self.config.runner.worker_timeout_s
        found = [(FarObservations(handles, rank, limit),) for rank in range(len(self.actor))]
        return found if len(handles) > 1 else None

    @property
    def weight_sources(self) -> list[int | None]:
        """The actor rank whose weights each rollout rank reads; None: they come from rank 0 over
        the network.
        """
        return weight_sources(self.plan.placement["actor"], self.plan.placement["rollout"])

    @property
    def sources_on_device(self) -> list[int]:
        """The actor rank on the GPU of each rollout rank, if they may share memory of it; or []."""
        if self.config.actor.enable_offload:  # the weights leave the GPU after an update
            return []
        return sources_on_device(self.plan.placement["actor"], self.plan.placement["rollout"])

    def kill(self) -> None:
        """Ends all processes; simulators end with the env worker that owns them."""
        for _, group in self:
            group.kill()

    def _launch(
        self,
        name: Component,
        arguments: Callable[[int], dict[str, Any]],
        threads: int = 1,
    ) -> WorkerGroup:
        return WorkerGroup(
            name,
            WORKERS[name],
            self.plan.placement[name],
            lambda rank: {
                "config": self.config,
                "rank": rank,
                "log_dir": self.log_dir,
                **arguments(rank),
            },
            lambda placement: runtime_environment(
                placement, self.plan.cores[name], self.config.cluster.node_groups
            ),
            self.cluster.node_ids,
            threads,
        )

    def _rollout_arguments(self, rank: int) -> dict[str, Any]:
        return {"threads": self.plan.cores["rollout"]}

    def _env_arguments(self, rank: int) -> dict[str, Any]:
        return {
            "world": len(self.plan.placement["env"]),
            "plan": self.plan,
            "policy": self.policy_for(rank),
        }

    def _actor_arguments(self, rank: int) -> dict[str, Any]:
        return {
            "world": len(self.plan.placement["actor"]),
            "threads": self.plan.cores["actor"],
            "updates": self.plan.iterations * self.plan.batch.updates,
            "fetch": fetch,
            "shard_size": self.plan.shard_size,
            "writes_weights": rank in self.weight_sources
            or (rank == 0 and None in self.weight_sources),
            "nodes": [process.node for process in self.plan.placement["actor"]],
            "shares_gpu": bool({"env", "rollout"} & neighbours(self.plan.placement, "actor")),
        }
