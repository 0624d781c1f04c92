"""The quickstart for several seeds: what success rises from, what to, and in what time.

python benchmarks/quickstart.py --seeds 1 2 3
python benchmarks/quickstart.py --config maniskill_ppo_flow_tiny
python benchmarks/quickstart.py --config isaaclab_ppo_mlp
python benchmarks/quickstart.py --config maniskill_ppo_flow_tiny --case flow-cps KEY=VALUE

Every seed collects its own demonstrations, if the configuration has any, imitates them and trains;
all are evaluated on the same held-out starts. Writes a JSON file with every number and a picture of
the curves, anew after each seed: a stopped benchmark keeps the seeds it has finished.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import psutil

from meter import Snapshot, snapshot
from record import record, write
from rlinf.config.load import load

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RLINF = Path(sys.executable).parent / "rlinf"


def main() -> None:
    """Runs the seeds one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--config", default="quickstart")
    parser.add_argument("--case", help="name of the result; by default the configuration's")
    arguments = parser.parse_args()
    name = arguments.config
    case = arguments.case or name.replace("_", "-")
    runs: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        runs.append(run(name, seed, arguments.overrides))
        path = write(case, record({"runs": runs}))
        draw(name, runs, path.with_suffix(".png"))
        print(f"wrote {path}")


def run(config: str, seed: int, overrides: list[str]) -> dict[str, Any]:
    """One whole run with nothing cached; returns its curves and its wall seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run"
        own = [f"{key}={seed}" for key in ("actor.seed", "env.train.seed")]
        if load(config, overrides).config.imitation is not None:
            own += [f"imitation.seed={seed}", f"imitation.cache_dir={scratch}/cache"]
        began = time.monotonic()
        command = [str(RLINF), "train", config, f"runner.logger.log_path={folder}"]
        process = subprocess.Popen([*command, *own, *overrides])
        with cpu_seconds(process.pid) as spent:
            assert process.wait() == 0
        seconds = time.monotonic() - began
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        evaluations = [json.loads(p.read_text()) for p in (folder / "eval").glob("*.json")]
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(sum(spent.values()), 1),
        "load_average_of_15_minutes": os.getloadavg()[-1],
        "evaluations": sorted(map(rates, evaluations), key=lambda e: e["step"]),
        "metrics": [json.loads(line) for line in lines],
    }


def rates(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Success of one evaluation, and of each task where it has several."""
    kept = {"step": evaluation["step"], **evaluation["overall"]}
    if len(evaluation["tasks"]) > 1:
        kept["tasks"] = evaluation["tasks"]
    return kept


@contextmanager
def cpu_seconds(root: int) -> Iterator[dict[tuple[int, float], float]]:
    """CPU seconds of a process and its descendants, also of those that end meanwhile."""
    spent: dict[tuple[int, float], float] = {}
    over = Event()

    def watch() -> None:
        while not over.wait(2):
            found: Snapshot = {}
            with suppress(psutil.NoSuchProcess):
                found = snapshot(root)
            spent.update({process: seconds for process, (_, seconds) in found.items()})

    thread = Thread(target=watch)
    thread.start()
    try:
        yield spent
    finally:
        over.set()
        thread.join()


def draw(name: str, runs: list[dict[str, Any]], path: Path) -> None:
    """Success of each seed; of a mixture also success and share of each task, for the first."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    metrics, evaluations = runs[0]["metrics"], runs[0]["evaluations"]
    tasks = [one for e in evaluations[:1] for one in e.get("tasks", [])]
    tasks = [one for one in tasks if series(metrics, f"env/task_{one['task']}/share")]
    panels = 3 if tasks else 1
    figure, axes = plt.subplots(
        1, panels, figsize=(6.4 if panels == 1 else 12, 3.6), constrained_layout=True, squeeze=False
    )
    overall = axes[0, 0]
    for index, entry in enumerate(runs):
        success = series(entry["metrics"], "env/success_once")
        curve(overall, success, entry["evaluations"], f"C{index}", f"seed {entry['seed']}")
    task = load(name).config.env.train.init_params.task_id()
    overall.set(ylabel="success", ylim=(0, 1), title=f"{name}: {task}")
    overall.legend(title="evaluation (thin: training)", fontsize=8)
    for index, one in enumerate(tasks):
        number = one["task"]
        points = [
            {"step": e["step"], **given}
            for e in evaluations
            for given in e["tasks"]
            if given["task"] == number
        ]
        success = series(metrics, f"env/task_{number}/success_once")
        curve(axes[0, 1], success, points, f"C{index}", f"task {number}")
        share = series(metrics, f"env/task_{number}/share")
        axes[0, 2].plot(*zip(*share, strict=True), color=f"C{index}", label=f"task {number}")
    if tasks:
        axes[0, 1].set(ylabel="success", ylim=(0, 1), title=f"tasks, seed {runs[0]['seed']}")
        axes[0, 2].set(ylabel="share of the episodes", ylim=(0, 1), title="curriculum")
        axes[0, 1].legend(fontsize=8)
    for one in axes[0]:
        one.set(xlabel="PPO iterations")
        one.grid(alpha=0.3)
    figure.savefig(path, dpi=150)


def series(metrics: list[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    """(Iteration, value) of a metric where it has one."""
    return [(m["step"], m[key]) for m in metrics if key in m]


def curve(
    axes: Axes,
    training: list[tuple[int, float]],
    points: list[dict[str, Any]],
    colour: str,
    label: str,
) -> None:
    """Training success per iteration as a line, evaluations as points with 95 % intervals."""
    success = [e["success"] for e in points]
    spread = (
        [e["success"] - e["low"] for e in points],
        [e["high"] - e["success"] for e in points],
    )
    axes.plot(*zip(*training, strict=True), color=colour, alpha=0.35, linewidth=1)
    steps = [e["step"] for e in points]
    axes.errorbar(steps, success, yerr=spread, color=colour, marker="o", capsize=3, label=label)


if __name__ == "__main__":
    main()
