"""The light-policy case: the whole pipeline against a plain loop that does the same arithmetic.

A vectorised toy simulator and a small network leave nothing but the framework's own cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from meter import Spent, shares, spend, spread
from plain import PlainProcess
from rlinf.cluster import cluster
from rlinf.config.load import Loaded, load
from rlinf.logging.writers import METRICS_FILE, read_metrics
from rlinf.runners.run import open_run
from rlinf.runners.train import Training, training_loop
from rlinf.runners.workers import Workers

CONFIG = "toy_ppo_mlp"
WARM_UP = 2  # iterations of each before the first measurement
TARGET = 1.35  # CPU seconds of the pipeline / of the plain loop, at most


def measure(rounds: int, iterations: int, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Both in turns, `iterations` at a time, so that other load on the machine hits both."""
    settings = (
        f"runner.max_steps={WARM_UP + rounds * iterations}",
        "runner.val_check_interval=-1",
        "runner.save_interval=-1",
        f"runner.logger.log_path={folder}",
    )
    loaded = load(CONFIG, [*settings, *overrides])
    ours: list[Spent] = []
    theirs: list[Spent] = []
    with ExitStack() as stack:
        plain = PlainProcess(loaded.config, loaded.plan.cores["actor"])
        stack.enter_context(closing(plain))
        train = stack.enter_context(training(loaded))
        train(WARM_UP)
        plain.iterate(WARM_UP)
        for _ in range(rounds):
            ours.append(spend(lambda: train(iterations), iterations, leave_out=plain.pid)[1])
            theirs.append(spend(lambda: plain.iterate(iterations), iterations, plain.pid)[1])
        reward = plain.rewards[-1]
    last = read_metrics(loaded.config.runner.logger.run_dir / METRICS_FILE)[-1]
    return {
        "rounds": rounds,
        "iterations_per_round": iterations,
        "seed": loaded.config.actor.seed,
        "pipeline": {**_summary(ours), "last_mean_reward": last["rollout/rewards"]},
        "plain": {**_summary(theirs), "last_mean_reward": reward},
        "cpu_ratio": spread(
            [a.cpu_each_s / b.cpu_each_s for a, b in zip(ours, theirs, strict=True)]
        ),
        "wall_ratio": spread(
            [a.wall_each_s / b.wall_each_s for a, b in zip(ours, theirs, strict=True)]
        ),
        "target_cpu_ratio": TARGET,
    }


@contextmanager
def training(loaded: Loaded) -> Iterator[Callable[[int], None]]:
    """A training run on Ray; the function given trains so many iterations more."""
    config, plan = loaded.config, loaded.plan
    with open_run(config) as run, ExitStack() as stack:
        machines = stack.enter_context(cluster.start(config, plan.nodes))
        workers = Workers(config, plan, machines, run)
        stack.callback(workers.close)
        workers.start()
        run.open_writers(None)
        parts = Training.of(config, plan, 0, run, workers)

        def train(count: int) -> None:
            training_loop(replace(parts, total=parts.saver.step + count))

        yield train


def table(numbers: dict[str, Any]) -> Table:
    """CPU and wall seconds of an iteration, side by side, and where the CPU seconds went."""
    pipeline, plain = numbers["pipeline"], numbers["plain"]
    shown = Table(title="light policy: seconds of one iteration (medians of rounds)")
    for column in ("", "pipeline", "plain loop", "ratio", "target"):
        shown.add_column(column, justify="left" if not column else "right")
    for name, target in (("cpu", f"<= {TARGET}"), ("wall", "")):
        shown.add_row(
            f"{name} s",
            f"{pipeline[f'{name}_s']['median']:.3f}",
            f"{plain[f'{name}_s']['median']:.3f}",
            f"{numbers[f'{name}_ratio']['median']:.2f}",
            target,
            end_section=name == "wall",
        )
    for role, seconds in pipeline["cpu_s_by_process"].items():
        shown.add_row(f"cpu s, {role}", f"{seconds:.3f}")
    shown.add_row(
        "last mean reward",
        f"{pipeline['last_mean_reward']:.3f}",
        f"{plain['last_mean_reward']:.3f}",
    )
    return shown


def _summary(spent: list[Spent]) -> dict[str, Any]:
    return {
        "cpu_s": spread([one.cpu_each_s for one in spent]),
        "wall_s": spread([one.wall_each_s for one in spent]),
        "cpu_s_by_process": shares(spent),
    }
