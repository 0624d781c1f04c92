"""The messages between the launcher and the workers of a run; waits end when the run stops.

The processes themselves are in `worker_groups.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rlinf.cluster import health
from rlinf.cluster.group import Pending, WorkerGroup, publish
from rlinf.cluster.nodes import Cluster
from rlinf.config.derive import Plan
from rlinf.config.schema import Component, Config, EvalEnv
from rlinf.data.types import EpisodeResult, Start, TrainBatch, Trajectory
from rlinf.envs.starts import share
from rlinf.errors import UpdateGivenUp
from rlinf.metrics.journal import read
from rlinf.metrics.timeline import Span
from rlinf.metrics.types import Metrics
from rlinf.models import shards
from rlinf.runners.host_copy import HostCopy
from rlinf.runners.run import Run
from rlinf.runners.worker_groups import WorkerGroups

SAVE_POLL_S = 0.05  # how often to ask whether a checkpoint is written


class Workers:
    """Env, rollout and actor workers of one run; waits end early when the run is to stop."""

    def __init__(
        self, config: Config, plan: Plan, cluster: Cluster, run: Run, training: bool = True
    ) -> None:
        self.config, self.plan, self.cluster, self.stop = config, plan, cluster, run.stop
        self.version = -1 if training else 0  # of the weights the rollout workers have
        self.updating = False  # the actor's state is that of no complete iteration
        self._prepared = False  # all actor ranks found each other and their memory
        self._unstoppable = False  # a request to stop ends no wait
        self._under_way: list[Pending] = []  # what is waited for, or was when a wait failed
        self._episodes: Pending | None = None  # asked for, and not to be overtaken
        self._asked_to_give_up = False  # the update under way
        # Actor rank on the GPU of each rollout rank; []: through host memory; None: not tried yet.
        self._on_device: list[int] | None = None
        self._groups = WorkerGroups(config, plan, cluster, str(run.folder / "workers"), training)
        self.env, self.rollout = self._groups.env, self._groups.rollout
        self.actor = self._groups.actor
        self.host_copy: HostCopy | None = None  # of the actor's state
        if self.actor is not None and plan.host_copy_bytes:
            # A cluster that was there before may have the launcher on any machine.
            own_ray = config.cluster.num_nodes == 1 and config.cluster.ray_address is None
            launch = None if own_ray else self._groups.launch_memory_owners
            self.host_copy = HostCopy(self.actor, plan.placement["actor"], launch)

    def start(self) -> None:
        """Waits until all constructors have returned and the training simulators are built."""
        ready = [self.rollout.call("ready")]
        if self.actor is not None:
            ready += [self.actor.call("ready"), self.env.call("start")]
        for pending in ready:
            self._wait(pending, self.config.runner.worker_timeout_s)
        self._prepare_actors()

    def interrupt(self) -> None:
        """The env workers give up what they are doing, until `repair` lets them go on.

        Where a call of the actor failed on one rank, the others wait for it inside a sum over the
        ranks, until that times out. They are ended at once, as `repair` replaces all of them.
        """
        limit = self.config.runner.worker_timeout_s
        if self.actor is not None and any(p.group == self.actor.name for p in self._under_way):
            self.actor.kill()
        self.env.call("interrupt").settle(limit)
        for pending in list(self._under_way):
            pending.settle(limit)
        self._under_way.clear()

    def repair(self, simulators_failed: bool) -> dict[str, int]:
        """Replaces the workers that failed; the others must have been interrupted.

        Where a machine is gone, its workers start on another one, as soon as there is one.

        Actor ranks hold one state together: if one failed, or an update was not completed, all are
        replaced. New workers are as at the start of a run: what they have to know is the caller's
        to bring back.

        Args:
            simulators_failed: those inside env workers are of no use any more.

        Returns:
            How many workers of each component, and how many nodes, are new.

        Raises:
            NodeLost: no other machine joined in time.
        """
        limit = self.config.runner.worker_timeout_s
        broken: list[Component] = ["env"] if simulators_failed else []
        if self.updating:
            broken.append("actor")
        nodes, replaced = self._groups.replace_failed(broken, limit, self.stop.check)
        moved = self.host_copy is not None and self.host_copy.repair(nodes, limit)
        self._begin_again(replaced, moved)
        return {"node": len(nodes), **{name: len(ranks) for name, ranks in replaced.items()}}

    @property
    def ray_failed(self) -> bool:
        """Whether the Ray that the run started ended, and all workers with it."""
        return not health.is_good()

    def check(self) -> None:
        """Raises RayFailed where `ray_failed`."""
        health.check()

    def restart_ray(self) -> dict[str, int]:
        """Starts Ray and all workers anew; memory of the launcher keeps what is in it.

        Nothing may wait for workers meanwhile.

        Returns:
            See `repair`.

        Raises:
            NodeLost: it cannot be started again, as other nodes would lack it.
        """
        self.cluster.restart()
        self._under_way.clear()
        self._episodes = None
        replaced = self._groups.launch_anew()
        self._begin_again(replaced, moved=False)
        return {"ray": 1, **{name: len(ranks) for name, ranks in replaced.items()}}

    def sync_weights(self) -> int:
        """Brings the actor's weights to the rollout workers; returns their version."""
        version: int = self._wait(self._actor.call_first("version"))[0]
        if version != self.version:
            if self._on_device is None:
                self._on_device = self._try_device_memory()
            if self._on_device:
                self._sync_on_device(self._on_device)
                self.version = version
                return version
            sources = self._groups.weight_sources
            far = publish if None in sources else None  # rank 0 sends them over the network
            given = [(far if rank == 0 else None,) for rank in range(len(self._actor))]
            sent = self._wait(self._actor.call_each("weights", given))
            arguments = [(sent[0][1] if source is None else sent[source][0],) for source in sources]
            self._wait(self.rollout.call_each("load_weights", arguments))
            self.version = version
        return version

    def _sync_on_device(self, sources: Sequence[int]) -> None:
        """Each rollout rank reads memory of its GPU that an actor rank there has written."""
        readers = [(sources.count(rank),) for rank in range(len(self._actor))]
        written = self._wait(self._actor.call_each("weights_on_device", readers))
        sent = [list(weights) for weights in written]
        arguments = [(sent[source].pop(),) for source in sources]
        self._wait(self.rollout.call_each("load_weights", arguments))
        self._wait(self._actor.call("free_device_memory"))

    def _try_device_memory(self) -> list[int]:
        """The actor rank whose GPU memory each rollout rank can read; [] unless all can."""
        sources = self._groups.sources_on_device
        for rank, source in enumerate(sources):
            handle = self._wait(self._actor.call_some([source], "try_device_memory"))[0]
            if not self._wait(self.rollout.call_some([rank], "try_device_memory", handle))[0]:
                return []
        return sources

    def collect(
        self, step: int, epochs: range, shares: np.ndarray | None = None
    ) -> tuple[list[Trajectory], Metrics]:
        """The trajectories of some rollout epochs of an iteration, and what went wrong.

        Args:
            shares: [tasks], how likely each task is; None: all alike.
        """
        if self._episodes is not None:
            self._episodes.settle(self.config.runner.worker_timeout_s)
        per_worker = self._wait(self.env.call("rollout", step, self.version, epochs, shares))
        trajectories = [
            replace(trajectory, node=placed.node)
            for placed, (collected, _) in zip(self.plan.placement["env"], per_worker, strict=True)
            for trajectory in collected
        ]
        return trajectories, Metrics.merge([faults for _, faults in per_worker])

    def update(self, batch: TrainBatch, step: int) -> Metrics:
        """Trains on the samples of an iteration; metrics are those of all ranks together.

        Raises:
            Stopped: the run is to stop, and the update was given up or takes too long to. As long
                as `updating` is true the actor's state is that of no iteration.
        """
        if self.config.rollout.enable_offload:
            self._wait(self.rollout.call("offload"))
            self.version = -1  # trained weights were dropped: the next sync brings them
        self.updating = True
        pending = self._actor.call("update", publish(batch), step)
        try:
            per_rank = self._result(pending, self._hurry)
        except UpdateGivenUp:
            self.stop.check()
            raise
        self.updating = False
        return Metrics.merge(per_rank)

    def _hurry(self) -> None:
        """Grants an update the first third of the grace time, and the second to be given up."""
        third = self.config.runner.grace_s / 3
        can_go_back = self.host_copy is not None and self.host_copy.exists
        if can_go_back and not self._asked_to_give_up and self.stop.came_before(third):
            self._actor.meanwhile("give_up")
            self._asked_to_give_up = True
        self.stop.check_after(2 * third)

    def evaluate(
        self,
        starts: Callable[[int, int], Sequence[Start]],
        repeats: int,
        step: int,
        journal: Path | None = None,
    ) -> tuple[list[str], list[EpisodeResult]]:
        """Runs every start once per repeat.

        Args:
            starts: from the number of tasks, and of the starts that each has, to those to run.
            journal: folder that finished episodes are kept in; those it has are not run again.

        Returns:
            The tasks, and one result per episode.
        """
        tasks, available = self._wait(self.env.call("start_evaluation"))[0]
        wanted, world = starts(len(tasks), available), len(self.env)
        asked = set(wanted)
        found = read(journal) if journal is not None else []
        kept = [e for e in found if e.repeat < repeats and e.start in asked]
        known, place = {(e.repeat, e.start) for e in kept}, str(journal) if journal else None
        episodes = list(kept)
        for repeat in range(repeats):
            todo = [start for start in wanted if (repeat, start) not in known]
            per_worker = self._wait(
                self.env.call_each(
                    "evaluate",
                    [
                        (share(todo, rank, world), repeat, self.version, step, place)
                        for rank in range(world)
                    ],
                )
            )
            episodes += [episode for results in per_worker for episode in results]
        return tasks, episodes

    def timeline(self) -> list[Span]:
        """What every worker did since the last call."""
        asked = [group.call("timeline") for _, group in self._groups]
        return [span for pending in asked for spans in self._wait(pending) for span in spans]

    def use_evaluation(self, env: EvalEnv) -> None:
        """From now on evaluations are those of this section; the policy stays as it is."""
        self._groups.config = self._groups.config.with_evaluation(env)
        self._wait(self.env.call("use_evaluation", env))

    def use_micro_batches(self, size: int) -> None:
        """Actor ranks that are launched from now on compute at most so many samples at a time."""
        self._groups.config = self._groups.config.with_micro_batches(size)

    def request_episodes(self) -> Pending:
        """Asks the env workers for their running episodes, for a checkpoint; does not wait."""
        self._episodes = self.env.call("state")
        return self._episodes

    def restore_episodes(self, states: Sequence[Any]) -> None:
        """Continues the episodes of `request_episodes`."""
        self._wait(self.env.call_each("restore", [(state,) for state in states]))

    def forget_episodes(self) -> None:
        """The envs begin as in a new run."""
        self._wait(self.env.call("forget"))

    @property
    def actor_is_new(self) -> bool:
        """Whether there are new actor ranks that have not been prepared, as a stop came between."""
        return self.actor is not None and not self._prepared

    @contextmanager
    def unstoppable(self) -> Iterator[None]:
        """Inside it, requests to stop end no wait: the run is stopping, and saves."""
        self._unstoppable = True
        try:
            yield
        finally:
            self._unstoppable = False

    def replace_actor(self) -> None:
        """New actor ranks, as at the start of the run."""
        self._prepared = False
        self._actor.restart(range(len(self._actor)))
        self._wait(self._actor.call("ready"), self.config.runner.worker_timeout_s)
        self._prepare_actors()

    def restore_actor(self) -> bool:
        """Every rank continues from its host copy; returns whether there is a complete one.

        Raises:
            WorkerFailed: also where a rank does not answer within a third of the grace time that a
                run has to stop.
        """
        runner = self.config.runner
        in_haste = self.stop.number is not None
        limit = runner.grace_s / 3 if in_haste else runner.worker_timeout_s
        if self.host_copy is None or not self.host_copy.read(limit):
            return False
        self.updating = self._asked_to_give_up = False
        return True

    def begin_to_save_actor(self, folder: Path, with_reference: bool) -> None:
        """Every rank copies its share of policy and optimizer and writes it in the background.

        Args:
            with_reference: the reference policy of a KL term is written first.
        """
        self._actor.call("save", str(folder), with_reference).result()

    def wait_for_saved_actor(self, folder: Path) -> None:
        """Waits until all ranks have written; may be called from another thread.

        Raises:
            OSError: a disk is full or not writable.
        """
        while True:  # a rank that trains answers only afterwards
            per_rank = self._actor.call("saved").result_unless(lambda: shards.is_written(folder))
            if per_rank is None:
                return
            problem = next((problem for _, problem in per_rank if problem is not None), None)
            if problem is not None:
                raise OSError(problem)
            if all(done for done, _ in per_rank):
                if not shards.is_written(folder):
                    raise OSError("an actor was replaced while it wrote")
                return
            time.sleep(SAVE_POLL_S)

    def export(self, folder: Path, out: Path) -> None:
        """Writes the policy of a checkpoint as others of its kind are published."""
        self._wait(self._actor.call_first("export", str(folder), str(out)))

    def load_actor(self, folder: Path) -> None:
        """Policy and optimizer on every rank."""
        self._wait(self._actor.call("load", str(folder)))

    def load_reference(self, folder: Path) -> None:
        """The reference policy of a KL term on every rank, if a checkpoint holds it."""
        self._wait(self._actor.call("load_reference", str(folder)))

    def close(self) -> None:
        """Ends all processes; simulators end with the env worker that owns them."""
        self._groups.kill()
        if self.host_copy is not None:
            self.host_copy.close()

    @property
    def _actor(self) -> WorkerGroup:
        assert self.actor is not None, "an evaluation has no actor"
        return self.actor

    def _begin_again(self, replaced: Mapping[Component, Sequence[int]], moved: bool) -> None:
        """Brings new workers as far as `start` does, and lets the others go on.

        Args:
            moved: the memory of the host copy is another one.
        """
        limit = self.config.runner.worker_timeout_s
        if self.actor is not None and replaced["actor"]:
            self.updating, self._prepared = True, False  # until they have a state again
        self._wait(self.rollout.call("ready"), limit)
        self._on_device = None
        if replaced["rollout"]:
            self.version = min(self.version, -1 if self.actor is not None else 0)
        policies = [(self._groups.policy_for(rank),) for rank in range(len(self.env))]
        self._wait(self.env.call_each("go_on", policies), limit)
        if self.actor is not None:
            self._wait(self.env.call_some(replaced["env"], "start"), limit)
            self._wait(self.actor.call("ready"), limit)
            if replaced["actor"]:
                self._prepare_actors()
            elif moved and self.host_copy is not None:
                self.host_copy.attach(self._wait)

    def _prepare_actors(self) -> None:
        """Brings new actor ranks together, and gives each the memory of its host copy."""
        if self.actor is None:
            return
        if len(self.actor) > 1:
            host = self.cluster.addresses[self.plan.placement["actor"][0].node]
            address = self._wait(self.actor.call_first("open_rendezvous", host))[0]
            self._wait(self.actor.call("connect", address))
            far = self._groups.far_observations()
            if far is not None:
                self._wait(self.actor.call_each("use_peers", far))
        if self.host_copy is not None:
            self.host_copy.attach(self._wait)
        self._prepared = True

    def _wait(self, pending: Pending, timeout_s: float | None = None) -> list[Any]:
        return self._result(pending, self._check_stop, timeout_s)

    def _check_stop(self) -> None:
        if not self._unstoppable:
            self.stop.check()

    def _result(
        self, pending: Pending, on_poll: Callable[[], None], timeout_s: float | None = None
    ) -> list[Any]:
        self._under_way.append(pending)
        results = pending.result(on_poll, timeout_s)
        self._under_way.remove(pending)
        return results
