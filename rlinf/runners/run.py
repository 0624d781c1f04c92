"""One run: its folder and lock, what the user sees, its logs, and the wish to stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rlinf.config.schema import Config
from rlinf.logging.console import Console, open_console
from rlinf.logging.writers import MetricWriters
from rlinf.metrics.timeline import LATEST, Span, Spans, Trace, idle_fractions, write_latest
from rlinf.runners.shutdown import StopRequest

TRAINING_PHASES = ("sync", "rollout", "advantages", "update")  # of every step


class Run:
    """What is open from the first line of a run to the last.

    Everything lies in `config.runner.logger.run_dir`::

        metrics.jsonl, tensorboard/     curves
        trace.json, timeline.json       what each process did when, see `metrics/timeline.py`
        eval/, video/                   results of evaluations, videos
        checkpoints/                    see `checkpoint.py`
        export/                         the policy at the end
        config.yaml, plan.txt, run.log  what was run, its plan, and everything that was said
        workers/                        log files of the worker processes
    """

    def __init__(self, config: Config, console: Console) -> None:
        self.config, self.console = config, console
        self.folder = config.runner.logger.run_dir
        self.stop = StopRequest()
        self.stop.before_exit = console.show_cursor
        self._writers: MetricWriters | None = None
        self._seconds: dict[str, float] = {}
        self._spans = Spans("launcher")
        self._trace = Trace(self.folder / "trace.json", config.runner.logger.trace_steps)
        self._logged_at = time.time()
        self.logged = 0  # the last step written

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    def open_writers(self, resume_step: int | None) -> None:
        """Starts the metric writers; a resumed run goes on after `resume_step`."""
        self.logged = resume_step or 0
        self._logged_at = time.time()
        logger = self.config.runner.logger
        self._writers = MetricWriters(
            self.folder,
            logger.logger_backends,
            logger.project_name,
            logger.run_name,
            self.config.model_dump(mode="json"),
            resume_step,
        )

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Shows a phase on the console and adds its seconds to `time/<name>` of the step."""
        began = time.perf_counter()
        with self.console.phase(name), self._spans.span(name):
            yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - began

    def log(
        self, step: int, total: int, metrics: Mapping[str, float], timeline: Sequence[Span] = ()
    ) -> None:
        """Writes the metrics of a step (counted from 1) and the seconds of its phases.

        Args:
            timeline: what the workers did in it.
        """
        self.logged = step
        ended = time.time()
        idle = idle_fractions(timeline, self._logged_at, ended)
        metrics = {**metrics, **{f"time/idle_{name}": share for name, share in idle.items()}}
        spans = [*timeline, *self._spans.take()]
        self._trace.write(step, spans)
        write_latest(self.folder / LATEST, step, spans)
        self._logged_at = ended
        spent = {f"time/{name}": seconds for name, seconds in self._seconds.items()}
        spent["time/step"] = sum(self._seconds.values())
        metrics = {**metrics, **spent}
        if "env/steps" in metrics:
            training = sum(self._seconds.get(name, 0.0) for name in TRAINING_PHASES)
            metrics["time/env_steps_per_second"] = metrics["env/steps"] / training
        self._seconds = {}
        self.write(step, metrics)
        self.console.step(step, total, metrics)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes more metrics of a step, such as those of an evaluation."""
        assert self._writers is not None
        self._writers.write(step, metrics)

    def close(self, completed: bool) -> None:
        """Ends the writers; `completed` says whether the run came to its end."""
        if self._writers is not None:
            self._writers.close(completed)


@contextmanager
def open_run(config: Config) -> Iterator[Run]:
    """The run of a configuration whose folder exists and belongs to this process."""
    with ExitStack() as stack:
        folder = config.runner.logger.run_dir
        run = Run(config, stack.enter_context(open_console(folder / "run.log")))
        stack.push(lambda kind, *_: run.close(completed=kind is None))
        yield run
