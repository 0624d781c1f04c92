"""Training: the loop, and what stands around it."""

from __future__ import annotations

from contextlib import ExitStack

from rlinf.cluster import cluster
from rlinf.config.derive import Plan
from rlinf.config.schema import Config
from rlinf.errors import EnvironmentFailure, UserError, WorkerDied
from rlinf.logging.metrics import Metrics
from rlinf.runners.closing import close_run
from rlinf.runners.evaluate import Evaluator
from rlinf.runners.recovery import Recovery
from rlinf.runners.run import Run, open_run
from rlinf.runners.samples import collect, make_samples
from rlinf.runners.saving import Saver
from rlinf.runners.stopping import Stopped
from rlinf.runners.warmup import start_weights
from rlinf.runners.watch import Watch
from rlinf.runners.workers import Workers


def training_loop(
    config: Config,
    total: int,
    run: Run,
    workers: Workers,
    evaluator: Evaluator,
    saver: Saver,
    recovery: Recovery,
) -> None:
    """Iterations until `total` are complete; after each what is due: evaluation, log, checkpoint.

    Each part is done again if a worker dies of it; see `Recovery.retry`.
    """
    watch = Watch(run.console)
    while saver.step < total:
        metrics = recovery.retry(lambda: iterate(config, run, workers, saver, watch))
        step = saver.step
        if due(config.runner.val_check_interval, step, total):
            metrics |= recovery.retry(lambda: evaluate(workers, evaluator, saver))
            if saver.step < step:
                continue  # the actor died meanwhile
        timeline = recovery.retry(workers.timeline)
        if step > run.logged:  # not done again, after a failure
            run.log(step, total, metrics | recovery.faults(metrics), timeline)
        if due(config.runner.save_interval, step, total):
            with run.phase("save"):
                saver.save()


def iterate(
    config: Config, run: Run, workers: Workers, saver: Saver, watch: Watch
) -> dict[str, float]:
    """Weights to the rollout workers, trajectories back, advantages, update."""
    step = saver.step
    with run.phase("sync"):
        workers.sync_weights()
    with run.phase("rollout"):
        trajectories, faults = collect(workers, step, config)
    with run.phase("advantages"):
        samples, metrics = make_samples(trajectories, config)
    with run.phase("update"):
        metrics |= Metrics.merge([faults, workers.update(samples, step)]).reduce()
    saver.complete(step + 1)
    watch.look(metrics, [episode for t in trajectories for episode in t.episodes])
    return metrics


def evaluate(workers: Workers, evaluator: Evaluator, saver: Saver) -> dict[str, float]:
    """The metrics of the present policy."""
    workers.sync_weights()
    label = f"after {saver.step} steps" if saver.step else "before"
    return evaluator.evaluate(saver.step, label).metrics.reduce()


def due(interval: int, step: int, total: int) -> bool:
    """Whether something that happens every `interval` steps, and at the end, happens after `step`.

    An interval below 1 means never.
    """
    return interval > 0 and (step % interval == 0 or step == total)


def train(config: Config, plan: Plan) -> int:
    """Runs a training to its end, or until Ctrl-C or SIGTERM; returns the exit code."""
    with open_run(config) as run:
        try:
            _train(config, plan, run)
        except Stopped as stopped:
            run.console.note(f"stopped by {stopped}; runner.resume_dir=auto continues this run")
            return stopped.exit_code
    return 0


def _train(config: Config, plan: Plan, run: Run) -> None:
    with ExitStack() as stack:
        with run.stop:
            config = start_weights(config, plan, run)
        with run.console.phase("start", once=True):
            machines = stack.enter_context(cluster.start(config.cluster))
            stack.enter_context(run.stop)  # after Ray, which has a SIGTERM handler of its own
            workers = Workers(config, plan, machines, run)
            stack.callback(workers.close)
            workers.start()
        saver, evaluator = Saver(config, run, workers), Evaluator(config, run, workers)
        recovery = Recovery(config, plan, run, workers, saver)
        resumed = saver.resume()
        run.open_writers(resumed or None)
        if config.runner.val_check_interval > 0 and not resumed:
            run.write(0, recovery.retry(lambda: evaluate(workers, evaluator, saver)))
        try:
            training_loop(config, plan.iterations, run, workers, evaluator, saver, recovery)
        except (Stopped, WorkerDied, EnvironmentFailure):
            saver.save()  # whatever is complete is not lost
            raise
        if not saver.save():
            raise UserError(
                f"the last checkpoint could not be written below {run.checkpoints}",
                "free some space and continue with runner.resume_dir=auto",
            )
        close_run(config, run, workers, evaluator)
