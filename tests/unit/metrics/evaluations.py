"""Result files of evaluations, made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rlinf.data.types import EpisodeResult, Start
from rlinf.metrics.evaluation import EvaluationFile, Shard, TrialKey, evaluation_file
from rlinf.metrics.results import evaluation

TASKS = ["open the drawer", "close the drawer"]
WHOLE = Shard()
SETTINGS = {
    "env": {"simulator_type": "toy", "max_episode_steps": 10, "seed": 3, "init_params": {"id": 1}},
    "sampling": {"do_sample": False},
    "policy": None,
}


def episode(task: int, trial: int, solved: bool, repeat: int = 0, length: int = 4) -> EpisodeResult:
    return EpisodeResult(
        env=trial,
        start=Start(task, trial, 100 * task + trial),
        length=length,
        episode_return=float(solved),
        success_once=solved,
        success_at_end=solved,
        terminated=solved,
        repeat=repeat,
    )


def file_of(
    episodes: Sequence[EpisodeResult],
    groups: Sequence[str] = (),
    settings: Mapping[str, object] = SETTINGS,
    shard: Shard = WHOLE,
    videos: Mapping[TrialKey, str] = {},
    step: int = 0,
    task_id: str = "",
) -> EvaluationFile:
    result = evaluation("all tasks", episodes, TASKS, groups)
    about = (settings, shard, videos, task_id)
    return evaluation_file(step, result, TASKS, groups, episodes, *about)


def outcomes(task: int, letters: str, repeat: int = 0) -> list[EpisodeResult]:
    """One episode per letter: `x` was solved."""
    return [episode(task, trial, letter == "x", repeat) for trial, letter in enumerate(letters)]
