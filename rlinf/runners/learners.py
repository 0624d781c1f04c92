"""The ranks that imitate: one in this process, or several on Ray."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from rlinf.cluster.group import WorkerGroup
from rlinf.config.derive import Plan
from rlinf.config.process_environment import runtime_environment, torch_device
from rlinf.config.schema import Config
from rlinf.metrics.types import Metrics
from rlinf.runners.run import Run
from rlinf.workers.imitation import ImitationWorker

SAVE_POLL_S = 0.02  # how often to ask whether a checkpoint is written


class Learners:
    """Calls `ImitationWorker`'s methods on all ranks; a context manager that ends them."""

    def __init__(self, config: Config, plan: Plan, folders: Sequence[str], run: Run) -> None:
        """Starts the ranks on the actor's placement and waits until they are ready.

        A single rank on this machine needs no Ray, and lives in this process.
        """
        self.run, self.timeout_s = run, config.runner.worker_timeout_s
        self._stack = ExitStack()
        self._local: ImitationWorker | None = None
        self._group: WorkerGroup | None = None
        ranks = plan.placement["actor"]
        if len(ranks) == 1 and ranks[0].node == 0:
            threads, device = plan.cores["actor"], torch_device(ranks[0])
            self._local = ImitationWorker(config, folders, 0, 1, threads, device=device)
            self._stack.callback(self._local.ranks.leave)
            return
        try:
            self._start(config, plan, folders)
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def sizes(self) -> tuple[int, int]:
        """Samples to learn from, samples held out."""
        sizes: tuple[int, int] = self._first("sizes")
        return sizes

    def train(self, first: int, end: int) -> Metrics:
        """Steps first..end-1 on all ranks; their metrics together."""
        return Metrics.merge(self._all("train", first, end))

    def held_out_metrics(self) -> Metrics:
        """Metrics on the held-out samples."""
        return Metrics.merge(self._all("held_out_metrics"))

    def save(self, folder: Path) -> None:
        """Policy and optimizer, every rank writing its share.

        Raises:
            OSError: a disk is full or not writable.
        """
        self._all("save", str(folder))
        answers = self._all("saved")
        while not all(done for done, _ in answers):
            time.sleep(SAVE_POLL_S)
            answers = self._all("saved")
        problem = next((problem for _, problem in answers if problem is not None), None)
        if problem is not None:
            raise OSError(problem)

    def export(self, folder: Path, out: Path) -> None:
        """Writes the policy of a checkpoint as others of its kind are published."""
        self._first("export", str(folder), str(out))

    def load(self, folder: Path) -> None:
        """Continues from what `save` wrote."""
        self._all("load", str(folder))

    def _start(self, config: Config, plan: Plan, folders: Sequence[str]) -> None:
        from rlinf.cluster import cluster

        machines = self._stack.enter_context(cluster.start(config, plan.nodes))
        self._stack.enter_context(self.run.stop)  # after Ray, which has a SIGTERM handler
        ranks = plan.placement["actor"]
        self._group = WorkerGroup(
            "imitation",
            "rlinf.workers.imitation:ImitationWorker",
            ranks,
            lambda rank: {
                "config": config,
                "folders": list(folders),
                "rank": rank,
                "world": len(ranks),
                "threads": plan.cores["actor"],
                "log_dir": str(self.run.folder / "workers"),
                "shard_size": plan.shard_size,
            },
            lambda placement: runtime_environment(
                placement, plan.cores["actor"], config.cluster.node_groups
            ),
            machines.node_ids,
        )
        self._stack.callback(self._group.kill)
        self._group.call("ready").result(self.run.stop.check, self.timeout_s)
        if len(ranks) > 1:
            self._all("connect", self._first("open_rendezvous", self._address(machines, ranks)))

    @staticmethod
    def _address(machines: Any, ranks: Sequence[Any]) -> str:
        address: str = machines.addresses[ranks[0].node]
        return address

    def _all(self, method: str, *arguments: Any) -> list[Any]:
        """Waits as long as all ranks are alive: steps of a large model take their time."""
        if self._group is None:
            return [getattr(self._local, method)(*arguments)]
        return self._group.call(method, *arguments).result()

    def _first(self, method: str, *arguments: Any) -> Any:
        if self._group is None:
            return getattr(self._local, method)(*arguments)
        return self._group.call_first(method, *arguments).result()[0]
