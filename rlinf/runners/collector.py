"""Where the trajectories of an iteration come from: collected now, or while the last one trained.

Synchronous (`runner.mode: sync`): rollout and training take turns, and the weights that act are
those that are trained. Asynchronous: iteration k + 1 is collected while iteration k trains, with
the weights from before that training. It is always one iteration old, never more or less, so
that a run does not depend on what was faster; the log-probs of the weights that acted are in the
ratio of the loss as always.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from rlinf.cluster.group import Pending
from rlinf.config.schema import Config
from rlinf.data.types import Trajectory
from rlinf.metrics.results import task_metrics
from rlinf.metrics.types import Mean, Metrics
from rlinf.runners.mixture import TaskMixture
from rlinf.runners.run import Run
from rlinf.runners.samples import collect_trajectories
from rlinf.runners.workers import Workers


class Collector:
    """The trajectories of one iteration after the other."""

    def __init__(
        self, config: Config, run: Run, workers: Workers, total: int, mixture: TaskMixture
    ) -> None:
        """
        Args:
            total: iterations of the run; none is collected beyond.
            mixture: which tasks the episodes have.
        """
        self.mixture = mixture
        self.config, self.run, self.workers, self.total = config, run, workers, total
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="collect")
        self._ahead: tuple[int, Future[tuple[list[Trajectory], Metrics]]] | None = None

    def take(self, step: int) -> tuple[list[Trajectory], Metrics, Pending]:
        """The trajectories of iteration `step`; waits for them.

        Returns:
            The trajectories, metrics of how they were collected, and the episodes that the envs
            run afterwards, for a checkpoint.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == step:
            with self.run.phase("rollout"):
                trajectories, faults = ahead[1].result()
        else:
            with self.run.phase("sync"):
                self.workers.sync_weights()
            with self.run.phase("rollout"):
                trajectories, faults = collect_trajectories(
                    self.workers, step, self.config, self.mixture.shares(step)
                )
        if self.config.runner.mode == "async":
            staleness = Mean(float(ahead is not None), 1.0)
            faults = Metrics.merge([faults, {"rollout/staleness": staleness}])
        shares, episodes = self.mixture.shares(step), [e for t in trajectories for e in t.episodes]
        if shares is not None:
            faults = Metrics.merge([faults, task_metrics(episodes, shares)])
        self.mixture.add(step, episodes)
        return trajectories, faults, self.workers.request_episodes()

    def begin(self, step: int) -> None:
        """In asynchronous mode, starts to collect iteration `step` with the present weights."""
        if self.config.runner.mode == "sync" or step >= self.total:
            return
        with self.run.phase("sync"):
            self.workers.sync_weights()
        self._ahead = (
            step,
            self._thread.submit(
                collect_trajectories, self.workers, step, self.config, self.mixture.shares(step)
            ),
        )

    def settle(self) -> None:
        """Waits until nothing is being collected, so that the rollout workers are free."""
        if self._ahead is not None:
            with self.run.phase("rollout"):
                self._ahead[1].exception()  # re-raised in `take`

    def drop(self) -> None:
        """Forgets what was collected ahead; the env workers must have been interrupted."""
        if self._ahead is not None:
            self._ahead[1].exception()
            self._ahead = None

    def close(self) -> None:
        """Nothing more will be collected."""
        self._thread.shutdown(wait=False, cancel_futures=True)
