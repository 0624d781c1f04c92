"""Evaluation: every (task, trial) exactly once per repeat, with n and a 95 % interval."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from rlinf.cluster import cluster
from rlinf.config.derive import Plan
from rlinf.config.schema import Config
from rlinf.data.types import EpisodeResult
from rlinf.envs.starts import evaluation_starts
from rlinf.errors import EnvironmentFailure, UserError, WorkerFailed
from rlinf.logging.evaluation_page import markdown, page
from rlinf.logging.files import write_atomically
from rlinf.metrics.evaluation import (
    EvaluationFile,
    Shard,
    TrialKey,
    evaluation_file,
    film_folder,
    film_name,
    key_of,
)
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

    def evaluate(
        self,
        step: int,
        label: str,
        journal: Path | None = None,
        policy: Mapping[str, object] | None = None,
    ) -> EvalResult:
        """Runs an evaluation and writes `eval/step_<step>.json`, and the same as pages.

        Args:
            step: iterations that the policy was trained for.
            label: what a reader calls the policy.
            journal: see `Workers.evaluate`.
            policy: see `identity.policy_of`; None where it is one in the middle of a training.
        """
        if journal is None:  # otherwise `open_journal` knows whether they are of this evaluation
            _remove_films(self.config, step)
        tasks, episodes = run_evaluation(self.config, self.run, self.workers, step, journal)
        groups = self.config.env.eval.init_params.task_groups()
        result = evaluation(label, episodes, tasks, groups)
        env = self.config.env.eval
        file = evaluation_file(
            step,
            result,
            tasks,
            groups,
            episodes,
            settings_of(self.config, policy),
            Shard(index=env.shard, count=env.num_shards),
            films_of(self.config, step, episodes),
            env.init_params.task_id(),
        )
        write_result(self.run.folder, file)
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
            lambda tasks, available: evaluation_starts(env.seed, tasks, env.num_trials, available)[
                env.shard :: env.num_shards
            ],
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
                policy = policy_of(config)
                continues = open_journal(config, journal, policy)
            workers = open_evaluation(config, plan, run, stack, continues)
            evaluator = Evaluator(config, run, workers)
            result = evaluator.evaluate(0, "all tasks", journal, policy)
        except Stopped as stopped:
            run.console.note(f"stopped by {stopped}; {_kept(journal)}")
            return stopped.exit_code
        except (WorkerFailed, EnvironmentFailure):
            run.console.note(_kept(journal))
            raise
        run.write(0, result.metrics.reduce())
        rows = [*result.tasks.values(), *result.groups.values(), result.overall]
        run.console.outcomes(rows)
        results = run.folder / "eval" / "step_0.json"
        run.console.paths({"results": results, "page": results.with_suffix(".html")})
    return 0


def _kept(journal: Path) -> str:
    kept = len(read(journal))
    if not kept:
        return "no episode was finished"
    return f"{plural(kept, 'episode')} kept; runner.resume_dir=auto continues this evaluation"


def open_journal(config: Config, journal: Path, policy: Mapping[str, object]) -> bool:
    """Makes the folder of the finished episodes; whether it holds an evaluation to be continued.

    Args:
        policy: see `identity.policy_of`.

    Raises:
        UserError: it is to be continued with another policy or other starts.
    """
    about = journal / "about.json"
    now = json.dumps(_identity(config, policy), indent=1)
    continues = config.runner.resume_dir is not None and about.is_file()
    if not continues:
        shutil.rmtree(journal, ignore_errors=True)
        _remove_films(config, 0)
    elif about.read_text() != now:
        raise UserError(
            f"runner.resume_dir: the evaluation in {journal.parent} had another policy or other "
            "settings",
            f"compare {about} with them, or leave runner.resume_dir out to begin anew",
        )
    journal.mkdir(parents=True, exist_ok=True)
    write_atomically(about, now.encode())
    return continues


def _identity(config: Config, policy: Mapping[str, object]) -> dict[str, object]:
    """What the episodes of an evaluation depend on, and which part of all trials they are."""
    env = config.env.eval
    shard = {"shard": env.shard, "num_shards": env.num_shards}
    return {**settings_of(config, policy), "part": shard}


_OF_NO_EFFECT = {"total_num_envs", "num_processes", "python", "step_timeout_s", "video_cfg"}
"""Keys of `env.eval` that no trial depends on."""


def settings_of(config: Config, policy: Mapping[str, object] | None) -> dict[str, object]:
    """What a trial depends on.

    Args:
        policy: see `identity.policy_of`.
    """
    env = config.env.eval.model_dump(mode="json", exclude=_OF_NO_EFFECT | {"shard", "num_shards"})
    return {
        "env": env,
        "sampling": config.algorithm.sampling_params.model_dump(mode="json"),
        "repeats": config.algorithm.eval_rollout_epoch,
        "policy": None if policy is None else dict(policy),
    }


def _remove_films(config: Config, step: int) -> None:
    """Videos of single trials that another evaluation of this step has left."""
    folder = film_folder(Path(config.env.eval.video_cfg.video_base_dir), step)
    shutil.rmtree(folder, ignore_errors=True)


def films_of(config: Config, step: int, episodes: Sequence[EpisodeResult]) -> dict[TrialKey, str]:
    """The videos of single trials that lie in the run's folder."""
    folder = film_folder(Path(config.env.eval.video_cfg.video_base_dir), step)
    run, found = config.runner.logger.run_dir, {}
    for episode in episodes:
        path = folder / film_name(episode)
        if path.is_file():
            inside = path.is_relative_to(run)
            found[key_of(episode)] = str(path.relative_to(run) if inside else path)
    return found


def write_result(folder: Path, file: EvaluationFile) -> Path:
    """Writes an evaluation as JSON, and as a page of Markdown and of HTML.

    Args:
        folder: of the run; the files are `eval/step_<step>.*`, or named after the set.
    """
    path = folder / "eval" / f"{file.set.name if file.set else f'step_{file.step}'}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, file.text().encode())
    write_atomically(path.with_suffix(".md"), markdown(folder.name, file).encode())
    write_atomically(path.with_suffix(".html"), page(folder.name, file).encode("utf-8", "replace"))
    return path


def read_history(folder: Path) -> list[tuple[int, Outcome]]:
    """Steps and outcomes of the evaluations in a run's folder, in order."""
    found = [json.loads(path.read_text()) for path in (folder / "eval").glob("step_*.json")]
    return sorted((entry["step"], Outcome(**entry["overall"])) for entry in found)
