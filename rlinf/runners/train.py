"""Training: the loop, and what stands around it.

From an iteration to a step of the simulator, each calling the next::

    iterate                            runners/train.py
      Collector.take                   runners/collector.py     weights to the policy, then rollout
        collect_trajectories           runners/samples.py       all rollout epochs, refills
          Workers.collect              runners/workers.py       a message to every env worker
            EnvWorker.rollout          workers/env.py           a thread for each stage
              TrainStage.collect       workers/partial_reset.py or fixed_episodes.py
                Stage.advance          workers/stage.py         actions from the policy:
                  RolloutWorker.act    workers/rollout.py       through RemotePolicy.act
                  EpisodeBatch.run_chunk  envs/episode.py       C actions, rewards, ends
                    Simulator.step     envs/<simulator>/        one env step
      make_samples                     runners/samples.py       advantages
      Workers.update                   runners/workers.py
        ActorWorker.update             workers/actor.py         losses, optimizer
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from rlinf.cluster import cluster
from rlinf.config.derive import Plan
from rlinf.config.schema import Config
from rlinf.errors import EnvironmentFailure, NumericsError, OutOfMemory, UserError, WorkerFailed
from rlinf.metrics.timeline import Span
from rlinf.metrics.types import Metrics
from rlinf.runners.closing import close_run
from rlinf.runners.collector import Collector
from rlinf.runners.evaluate import Evaluator
from rlinf.runners.health import HealthCheck
from rlinf.runners.mixture import TaskMixture
from rlinf.runners.recovery import Recovery
from rlinf.runners.resuming import compare_with_checkpoint
from rlinf.runners.run import Run, open_run
from rlinf.runners.samples import make_samples
from rlinf.runners.saving import Saver
from rlinf.runners.schedules import settle_training
from rlinf.runners.shutdown import Stopped
from rlinf.runners.warmup import initial_weights
from rlinf.runners.workers import Workers

# What ends a run in spite of all repairs; the last complete iteration is saved then.
ENDS_RUN = (WorkerFailed, EnvironmentFailure, OutOfMemory)


@dataclass(frozen=True, slots=True)
class Training:
    """Who takes part in a training."""

    config: Config
    total: int  # iterations
    run: Run
    workers: Workers
    collector: Collector
    evaluator: Evaluator
    saver: Saver
    recovery: Recovery
    health: HealthCheck

    @staticmethod
    def of(config: Config, plan: Plan, total: int, run: Run, workers: Workers) -> Training:
        """The parts around the workers of a run."""
        mixture = TaskMixture(config)
        collector = Collector(config, run, workers, total, mixture)
        saver = Saver(config, run, workers, mixture)
        recovery = Recovery(config, plan, run, workers, saver, collector)
        evaluator, health = Evaluator(config, run, workers), HealthCheck(run.console)
        return Training(config, total, run, workers, collector, evaluator, saver, recovery, health)


def training_loop(t: Training) -> None:
    """Iterations until all are complete; after each what is due: evaluation, log, checkpoint.

    Each part is repeated if a worker fails; see `Recovery.retry`.
    """
    runner = t.config.runner
    while t.saver.step < t.total:
        metrics = t.recovery.retry(lambda: iterate(t))
        step = t.saver.step
        try:
            if due(runner.val_check_interval, step, t.total):
                metrics |= t.recovery.retry(lambda: evaluate(t))
                if t.saver.step < step:
                    continue  # the actor failed meanwhile
            timeline = t.recovery.retry(t.workers.timeline)
        except (Stopped, *ENDS_RUN):
            if t.saver.step == step:  # the checkpoint to come holds this iteration
                log(t, step, metrics, [])
            raise
        log(t, step, metrics, timeline)
        if due(runner.save_interval, step, t.total):
            with t.run.phase("save"):
                t.saver.save()


def log(t: Training, step: int, metrics: Mapping[str, float], timeline: Sequence[Span]) -> None:
    """Logs iteration `step`, unless it was done again after a failure and is logged already."""
    if step > t.run.logged:
        t.run.log(step, t.total, {**metrics, **t.recovery.faults(metrics)}, timeline)


def iterate(t: Training) -> dict[str, float]:
    """Weights to the rollout workers, trajectories back, advantages, update."""
    step = t.saver.step
    trajectories, faults, episodes = t.collector.take(step)
    with t.run.phase("advantages"):
        samples, metrics = make_samples(trajectories, t.config)
    t.collector.begin(step + 1)  # asynchronous mode: while this iteration trains
    with t.run.phase("update"):
        metrics |= Metrics.merge([faults, t.workers.update(samples, step)]).reduce()
    t.saver.complete(step + 1, episodes)
    t.health.look(metrics, [episode for t in trajectories for episode in t.episodes])
    return metrics


def evaluate(t: Training) -> dict[str, float]:
    """The metrics of the present policy."""
    t.collector.settle()
    t.workers.sync_weights()
    step = t.saver.step
    return t.evaluator.evaluate(step, f"after {step} steps" if step else "before").metrics.reduce()


def save_last(t: Training) -> None:
    """The checkpoint of the last iteration; raises RayFailed if that was why it was not written."""
    t.saver.save()
    if not t.saver.finish():
        t.workers.check()


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


@contextmanager
def started(config: Config, plan: Plan, run: Run) -> Iterator[Workers]:
    """Ray and the workers of a training, until they are no longer needed."""
    with ExitStack() as stack:
        with run.console.phase("start", once=True):
            machines = stack.enter_context(cluster.start(config, plan.nodes))
            stack.enter_context(run.stop)  # after Ray, which has a SIGTERM handler of its own
            workers = Workers(config, plan, machines, run)
            stack.callback(workers.close)
            workers.start()
        yield workers


def _train(config: Config, plan: Plan, run: Run) -> None:
    compare_with_checkpoint(config, run)
    with ExitStack() as stack:
        with run.stop:
            config = settle_training(initial_weights(config, plan, run), plan, run)
        workers = stack.enter_context(started(config, plan, run))
        training = Training.of(config, plan, plan.iterations, run, workers)
        stack.callback(training.collector.close)
        saver = training.saver
        resumed = saver.resume()
        run.open_writers(resumed or None)
        if config.runner.val_check_interval > 0 and not resumed:
            run.write(0, training.recovery.retry(lambda: evaluate(training)))
        try:
            training_loop(training)
        except Stopped:
            saver.rescue(new_ranks=False)
            raise
        except ENDS_RUN:
            saver.rescue(new_ranks=True)
            raise
        except NumericsError:
            newest = saver.rescue(new_ranks=False)
            if newest is not None:
                run.console.note(
                    f"{newest} is from before that; runner.resume_dir=auto continues it. The same "
                    "configuration would end the same way: change something, such as "
                    "actor.optim.lr"
                )
            raise
        training.recovery.retry(lambda: save_last(training))
        if not saver.finish():
            raise UserError(
                f"the last checkpoint could not be written below {run.checkpoints}",
                "see the warning above, and continue with runner.resume_dir=auto",
            )
        training.recovery.retry(lambda: close_run(config, run, workers))
