"""Going on after a worker failed: it is replaced, and what it was part of is done again.

So are the ranks of a sharded policy of which one ran out of memory: new ones take half as much at
a time.

Random numbers belong to (seed, step, env, ...), so what is done again gives the same numbers.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

from rlinf.config.derive import Plan
from rlinf.config.schema import Config
from rlinf.errors import EnvironmentFailure, NodeLost, OutOfMemory, WorkerFailed
from rlinf.runners.collector import Collector
from rlinf.runners.run import Run
from rlinf.runners.saving import Saver
from rlinf.runners.workers import Workers
from rlinf.wording import plural

_log = logging.getLogger(__name__)
T = TypeVar("T")


class Recovery:
    """Bounded retries, and a count of what went wrong."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        run: Run,
        workers: Workers,
        saver: Saver,
        collector: Collector,
    ) -> None:
        self.limit = config.runner.max_failures
        self.simulators_inside = plan.train.simulator_processes == 0  # inside env workers
        self.run, self.workers, self.saver, self.collector = run, workers, saver, collector
        self.failures = 0  # in a row
        self.halved = False  # actor ranks take half as many samples at a time
        self._faults: Counter[str] = Counter()

    def retry(self, work: Callable[[], T]) -> T:
        """Does `work`, again and again where workers fail.

        When it returns, all workers are in the state of iteration `saver.step`; that can be an
        earlier one than before, if the actor failed.

        Raises:
            WorkerFailed, EnvironmentFailure: it failed more often in a row than
                `runner.max_failures`, or a simulator did, which has retries of its own.
            OutOfMemory: half as much at a time did not fit, either.
            NodeLost: a machine is gone, and no other took its place in time.
        """
        failure: Exception | None = None
        while True:
            try:
                if failure is not None:
                    self._repair(failure)
                result = work()
            except NodeLost:
                raise
            except (WorkerFailed, EnvironmentFailure, OutOfMemory) as error:
                failure = self._count(error)
            else:
                self.failures = 0
                return result

    def faults(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """What happened since the last call, added to what `metrics` counts already."""
        counts = {f"faults/{name}": n for name, n in self._faults.items()}
        self._faults.clear()
        return {name: metrics.get(name, 0.0) + n for name, n in counts.items()}

    def _count(self, error: WorkerFailed | EnvironmentFailure | OutOfMemory) -> Exception:
        self.failures += 1
        if isinstance(error, OutOfMemory):
            self._take_less_memory(error)
        has_retries = isinstance(error, EnvironmentFailure) and not self.simulators_inside
        if has_retries or self.failures > self.limit:
            raise error
        headline = str(error).split("\n", 1)[0]
        self.run.console.warn(
            f"{headline}; repair {self.failures} of at most {self.limit} in a row"
        )
        _log.debug("%s", error)
        return error

    def _take_less_memory(self, error: OutOfMemory) -> None:
        """Once in a run; raises the error where that does not help."""
        if error.smaller is None or self.halved:
            raise error
        self.halved = True
        self.workers.use_micro_batches(error.smaller)
        self._faults["out_of_memory"] += 1
        _log.warning("from now on actor.micro_batch_size is %d: %s", error.smaller, error)

    def _repair(self, failure: Exception) -> None:
        with self.run.phase("repair"):
            if self.workers.ray_failed:
                self.collector.drop()
                self.saver.take_over()
                replaced = self.workers.restart_ray()
            else:
                self.workers.interrupt()
                self.collector.drop()
                replaced = self.workers.repair(isinstance(failure, EnvironmentFailure))
            self.saver.rewind(actor_lost=replaced.get("actor", 0) > 0)
        self._faults.update({f"{name}_restarts": n for name, n in replaced.items() if n})
        what = ", ".join(_described(name, n) for name, n in replaced.items() if n)
        self.run.console.note(
            f"{what or 'no worker'} replaced; going on from step {self.saver.step}"
        )


def _described(name: str, count: int) -> str:
    """What was replaced, for a reader."""
    if name == "ray":
        return "Ray"
    return plural(count, name if name == "node" else f"{name} worker")
