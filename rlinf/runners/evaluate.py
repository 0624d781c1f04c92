"""Evaluation: every (task, trial) exactly once per repeat, with n and a 95 % interval."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from rlinf.cluster import cluster
from rlinf.config.derive import Plan
from rlinf.config.schema import Config
from rlinf.data.types import EpisodeResult
from rlinf.envs.starts import evaluation_starts
from rlinf.errors import EnvironmentFailure, UserError, WorkerFailed
from rlinf.logging.files import write_atomically
from rlinf.metrics.journal import read
from rlinf.metrics.outcome import Outcome
from rlinf.metrics.results import EvalResult, evaluation
from rlinf.runners.identity import policy_of
from rlinf.runners.run import Run, open_run
from rlinf.runners.shutdown import Stopped
from rlinf.runners.warmup import initial_weights
from rlinf.runners.workers import Workers
from rlinf.wording import plural

JOURNAL = Path("eval", "episodes")
"""Folder of the finished episodes, in that of a run."""


class Evaluator:
    """Evaluates the actor's present policy and writes the outcomes into the run's folder."""

    def __init__(self, config: Config, run: Run, workers: Workers) -> None:
        self.config, self.run, self.workers = config, run, workers

    def evaluate(self, step: int, label: str, journal: Path | None = None) -> EvalResult:
        """Runs an evaluation and writes `eval/step_<step>.json`.

        Args:
            step: iterations that the policy was trained for.
            label: what a reader calls the policy.
            journal: see `Workers.evaluate`.
        """
        tasks, episodes = run_evaluation(self.config, self.run, self.workers, step, journal)
        groups = self.config.env.eval.init_params.task_groups()
        result = evaluation(label, episodes, tasks, groups)
        write_result(self.run.folder, step, result, tasks, episodes)
        self.run.console.evaluated(step, result.overall)
        return result


def run_evaluation(
    config: Config, run: Run, workers: Workers, step: int, journal: Path | None = None
) -> tuple[list[str], list[EpisodeResult]]:
    """Runs the evaluation of `config.env.eval`; returns the tasks and one result per episode.

    Args:
        journal: see `Workers.evaluate`.
    """
    env = config.env.eval
    with run.phase("eval"):
        return workers.evaluate(
            lambda tasks, available: evaluation_starts(env.seed, tasks, env.num_trials, available),
            config.algorithm.eval_rollout_epoch,
            step,
            journal,
        )


def open_evaluation(
    config: Config, plan: Plan, run: Run, stack: ExitStack, continues: bool = False
) -> Workers:
    """Workers that can evaluate the initial weights; `stack` closes them.

    Args:
        config: with its initial weights chosen.
        continues: the run's folder holds an evaluation that is continued; its metrics are written
            anew.

    Raises:
        Stopped: the run was to stop.
    """
    with run.console.phase("start", once=True):
        machines = stack.enter_context(cluster.start(config, plan.nodes))
        stack.enter_context(run.stop)
        workers = Workers(config, plan, machines, run, training=False)
        stack.callback(workers.close)
        workers.start()
    run.open_writers(-1 if continues else None)
    return workers


def evaluate(config: Config, plan: Plan) -> int:
    """Evaluates the policy of `runner.ckpt_path` once; returns the exit code.

    Finished episodes are kept as they come. With `runner.resume_dir` an evaluation that was cut off
    is continued: only what is missing is run.
    """
    with open_run(config) as run, ExitStack() as stack:
        journal = run.folder / JOURNAL
        try:
            with run.stop:
                config = initial_weights(config, plan, run)
                continues = open_journal(config, journal)
            workers = open_evaluation(config, plan, run, stack, continues)
            result = Evaluator(config, run, workers).evaluate(0, "all tasks", journal)
        except Stopped as stopped:
            run.console.note(f"stopped by {stopped}; {_kept(journal)}")
            return stopped.exit_code
        except (WorkerFailed, EnvironmentFailure):
            run.console.note(_kept(journal))
            raise
        run.write(0, result.metrics.reduce())
        rows = [*result.tasks.values(), *result.groups.values(), result.overall]
        run.console.outcomes(rows)
        run.console.paths({"results": run.folder / "eval" / "step_0.json"})
    return 0


def _kept(journal: Path) -> str:
    kept = len(read(journal))
    if not kept:
        return "no episode was finished"
    return f"{plural(kept, 'episode')} kept; runner.resume_dir=auto continues this evaluation"


def open_journal(config: Config, journal: Path) -> bool:
    """Makes the folder of the finished episodes; whether it holds an evaluation to be continued.

    Args:
        config: with its initial weights chosen.

    Raises:
        UserError: it is to be continued with another policy or other starts.
    """
    about = journal / "about.json"
    now = json.dumps(_identity(config), indent=1)
    continues = config.runner.resume_dir is not None and about.is_file()
    if not continues:
        shutil.rmtree(journal, ignore_errors=True)
    elif about.read_text() != now:
        raise UserError(
            f"runner.resume_dir: the evaluation in {journal.parent} had another policy or other "
            "settings",
            f"compare {about} with them, or leave runner.resume_dir out to begin anew",
        )
    journal.mkdir(parents=True, exist_ok=True)
    write_atomically(about, now.encode())
    return continues


def _identity(config: Config) -> dict[str, object]:
    """What the episodes of an evaluation depend on."""
    env = config.env.eval.model_dump(
        mode="json", exclude={"total_num_envs", "num_processes", "step_timeout_s", "video_cfg"}
    )
    return {
        "env": env,
        "sampling": config.algorithm.sampling_params.model_dump(mode="json"),
        "policy": policy_of(config),
    }


def write_result(
    folder: Path,
    step: int,
    result: EvalResult,
    tasks: Sequence[str],
    episodes: Sequence[EpisodeResult],
) -> Path:
    """Writes overall and per-task success, and every episode, as JSON."""
    path = folder / "eval" / f"step_{step}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "step": step,
        "overall": asdict(result.overall),
        "groups": {name: asdict(outcome) for name, outcome in result.groups.items()},
        "tasks": [
            {"task": index, "instruction": tasks[index], **asdict(outcome)}
            for index, outcome in result.tasks.items()
        ],
        "metrics": result.metrics.reduce(),
        "episodes": [
            {**asdict(episode), "start": episode.start._asdict()}
            for episode in sorted(episodes, key=lambda e: e.start)
        ],
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    return path


def read_history(folder: Path) -> list[tuple[int, Outcome]]:
    """Steps and outcomes of the evaluations in a run's folder, in order."""
    found = [json.loads(path.read_text()) for path in (folder / "eval").glob("step_*.json")]
    return sorted((entry["step"], Outcome(**entry["overall"])) for entry in found)
