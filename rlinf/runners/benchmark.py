"""A benchmark: one policy evaluated on several sets of starts, with one table at the end.

The policy is loaded once. Each set has a result file, and a set whose file says that it was made
with the same weights and settings is not run again: an interrupted benchmark goes on where it was.
Weights are compared by content: in another folder they are the same, others in the same folder not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rlinf.config import tree
from rlinf.config.derive import Plan
from rlinf.config.preflight import missing_assets
from rlinf.config.problems import error_of
from rlinf.config.schema import Config
from rlinf.config.validate import validate
from rlinf.data.types import EpisodeResult
from rlinf.envs.benchmarks import Benchmark, BenchmarkSet
from rlinf.errors import UserError
from rlinf.logging.benchmark_table import SetOutcome, markdown, table
from rlinf.logging.files import write_atomically
from rlinf.logging.writers import METRICS_FILE
from rlinf.metrics.evaluation import (
    SetPart,
    Shard,
    SuccessRate,
    TrialKey,
    evaluation_file,
    read_evaluation,
)
from rlinf.metrics.outcome import Outcome
from rlinf.metrics.results import evaluation, wilson
from rlinf.runners.evaluate import films_of, open_evaluation, run_evaluation, write_result
from rlinf.runners.identity import policy_of
from rlinf.runners.run import Run, open_run
from rlinf.runners.shutdown import Stopped
from rlinf.runners.warmup import initial_weights

Settings = Mapping[str, Mapping[str, Any]]  # of each set, see `_settings`


def run_benchmark(config: Config, plan: Plan, benchmark: Benchmark) -> int:
    """Runs the sets that have no result yet and writes `eval/table.md` and `eval/table.json`."""
    if config.env.eval.num_shards > 1:
        raise UserError(
            f"env.eval.num_shards = {config.env.eval.num_shards}: a benchmark runs whole",
            "remove it; machines can run single sets with rlinf eval and env.eval.init_params",
        )
    parts = {part.name: configured(config, benchmark, part) for part in benchmark.sets}
    problems = [problem for one in parts.values() for problem in missing_assets(one)]
    if problems:
        raise error_of(list(dict.fromkeys(problems)), benchmark.title)
    with open_run(config) as run, ExitStack() as stack:
        folder, code, settings = run.folder / "eval", 0, {}
        try:
            with run.stop:
                config = initial_weights(config, plan, run)
                policy = policy_of(config)
            settings = {name: _settings(one, policy) for name, one in parts.items()}
            todo = [part for part in benchmark.sets if _read(folder, part, settings) is None]
            if todo:
                workers = open_evaluation(config, plan, run, stack, was_begun(run.folder))
            for number, part in enumerate(todo, start=1):
                run.console.note(f"set {number} of {len(todo)}: {part.name}")
                workers.use_evaluation(parts[part.name].env.eval)
                one = parts[part.name]
                tasks, episodes = run_evaluation(one, run, workers, step=0)
                films = films_of(one, 0, episodes)
                name = one.env.eval.init_params.task_id()
                _write(run.folder, part, settings, tasks, episodes, films, name)
        except Stopped as stopped:
            run.console.note(f"stopped by {stopped}: sets that were through are kept")
            code = stopped.exit_code
        if settings:  # otherwise it is not known yet whose results there are
            _write_table(run, benchmark, settings)
    return code


def was_begun(folder: Path) -> bool:
    """Whether a benchmark that was interrupted, maybe in its first set, has left its files."""
    return (folder / METRICS_FILE).is_file()


def configured(config: Config, benchmark: Benchmark, part: BenchmarkSet) -> Config:
    """The configuration with the evaluation of one set."""
    if config.env.eval.simulator_type != benchmark.simulator_type:
        raise UserError(
            f"env.eval.simulator_type = {config.env.eval.simulator_type}: {benchmark.title} runs "
            f"in {benchmark.simulator_type}",
            "choose a configuration for that simulator",
        )
    plain = config.model_dump(mode="json")
    for key, value in part.init_params.items():
        tree.put(plain, f"env.eval.init_params.{key}", value)
    video = f"{config.env.eval.video_cfg.video_base_dir}/{part.name}"
    tree.put(plain, "env.eval.video_cfg.video_base_dir", video)
    changed = validate(plain)
    if not isinstance(changed, Config):
        raise error_of(changed, part.name)
    return config.with_evaluation(changed.env.eval)


def _settings(config: Config, policy: Mapping[str, object]) -> dict[str, Any]:
    """What a result depends on, apart from the code.

    Args:
        policy: see `identity.policy_of`.
    """
    env = config.env.eval.model_dump(mode="json", exclude={"video_cfg", "num_processes"})
    return {
        "policy": dict(policy),
        "env": {key: value for key, value in env.items() if not key.endswith("timeout_s")},
        "sampling": config.algorithm.sampling_params.model_dump(mode="json"),
        "repeats": config.algorithm.eval_rollout_epoch,
    }


def _file(folder: Path, part: BenchmarkSet) -> Path:
    return folder / f"{part.name}.json"


def _write(
    run: Path,
    part: BenchmarkSet,
    settings: Settings,
    tasks: Sequence[str],
    episodes: Sequence[EpisodeResult],
    films: Mapping[TrialKey, str] = MappingProxyType({}),
    task_id: str = "",
) -> None:
    """Writes the result file of a set."""
    at_end = _outcome(part.name, [episode.success_at_end for episode in episodes])
    result = evaluation(part.name, episodes, tasks)
    said = settings[part.name]
    file = evaluation_file(0, result, tasks, (), episodes, said, Shard(), films, task_id)
    own = SetPart(
        name=part.name,
        group=part.group,
        at_end=SuccessRate.of(at_end),
        remarks=part.remarks(episodes),
    )
    write_result(run, file.model_copy(update={"set": own}))


def _read(folder: Path, part: BenchmarkSet, settings: Settings) -> SetOutcome | None:
    """The outcome of a set that was run with these settings."""
    file = _file(folder, part)
    if not file.is_file():
        return None
    try:
        found = read_evaluation(file)
    except UserError:  # of an older version, which said less
        return None
    if found.settings != settings[part.name] or found.set is None:
        return None
    return SetOutcome(
        part.name,
        part.group,
        found.overall.outcome(),
        found.set.at_end.outcome(),
        tuple(found.set.remarks),
    )


def _outcome(label: str, solved: Sequence[bool]) -> Outcome:
    count, successes = len(solved), sum(solved)
    low, high = wilson(successes, count)
    return Outcome(label, successes / count if count else math.nan, low, high, count)


def _write_table(run: Run, benchmark: Benchmark, settings: Settings) -> None:
    folder = run.folder / "eval"
    found = [_read(folder, part, settings) for part in benchmark.sets]
    sets = [outcome for outcome in found if outcome is not None]
    rows = table(sets, benchmark.groups, benchmark.within, benchmark.pooled)
    policy = run.config.runner.ckpt_path or "the weights a training would start from"
    remarks = list(benchmark.remarks)
    if len(sets) < len(found):
        remarks.insert(0, f"Interrupted: the means are of {len(sets)} of {len(found)} sets alone.")
    page = markdown(benchmark.title, policy, sets, rows, remarks)
    content = {
        "benchmark": benchmark.title,
        "policy": policy,
        "table": rows,
        "sets": [asdict(outcome) for outcome in sets],
        "remarks": remarks,
    }
    write_atomically(folder / "table.md", page.encode())
    write_atomically(folder / "table.json", (json.dumps(content, indent=1) + "\n").encode())
    run.console.outcomes([outcome.once for outcome in sets])
    run.console.paths({"table": folder / "table.md", "numbers": folder / "table.json"})
