"""The result file of an evaluation, `eval/step_N.json`: every trial, and what they say together.

One schema for all evaluations; `VERSION` grows where a reader of the old one would misread the new
one. Numbers that are not finite are null.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rlinf.data.types import EpisodeResult, Start
from rlinf.errors import UserError
from rlinf.metrics.outcome import Outcome
from rlinf.metrics.results import EvalResult, evaluation
from rlinf.wording import plural

VERSION: Literal[1] = 1

_SHOWN = {"simulator_type", "max_episode_steps", "seed"}
"""Settings of the environment that a page shows."""
EndedBy = Literal["success", "failure", "step limit", "broken"]


class TrialKey(NamedTuple):
    """What an evaluation runs exactly once."""

    task: int
    trial: int
    seed: int
    repeat: int


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Trial(_Part):
    """One episode."""

    task: int
    """Index of the task."""
    trial: int
    """Start of the task, by number."""
    seed: int
    """Of everything else that the simulator draws at the reset."""
    repeat: int
    """Which of `algorithm.eval_rollout_epoch` episodes from this start."""
    success_once: bool
    """Solved at some step."""
    success_at_end: bool
    """Solved at the last step."""
    length: int
    """Env steps."""
    episode_return: float | None
    """Undiscounted sum of rewards."""
    ended: EndedBy
    """`success` and `failure`: the task itself ended; `step limit`: only the clock ran out;
    `broken`: a reward was not finite."""
    env: int
    """Sub-env that ran it."""
    video: str | None
    """mp4 of this trial alone, from the folder of the run; null: it was not kept."""

    @property
    def key(self) -> TrialKey:
        """What it is a trial of."""
        return TrialKey(self.task, self.trial, self.seed, self.repeat)


class SuccessRate(_Part):
    """Success of some trials."""

    label: str
    success: float | None
    """Share of the trials that were solved at some step."""
    low: float
    """95 % Wilson interval of it."""
    high: float
    episodes: int

    @classmethod
    def of(cls, outcome: Outcome, **more: Any) -> Self:
        """An outcome as it stands in the file."""
        plain = {**asdict(outcome), "success": _finite(outcome.success)}
        return cls(**plain, **more)

    def outcome(self) -> Outcome:
        """The same as the outcome it was made of."""
        success = math.nan if self.success is None else self.success
        return Outcome(self.label, success, self.low, self.high, self.episodes)


class TaskRate(SuccessRate):
    """Success in one task."""

    task: int
    instruction: str
    group: str | None
    """Group of tasks that it belongs to, such as a suite or a category."""


class Shard(_Part):
    """Which part of all trials a machine ran."""

    index: Annotated[int, Field(ge=0)] = 0
    count: int = 1

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.index >= self.count:
            raise ValueError(f"index {self.index} is none of {self.count}")
        return self


class SetPart(_Part):
    """What the file of one set of a benchmark says beside."""

    name: str
    group: str
    """Column of the benchmark's table."""
    at_end: SuccessRate
    """Success at the last step."""
    remarks: list[str]


class EvaluationFile(_Part):
    """Everything that an evaluation found."""

    format: Literal["rlinf evaluation"] = "rlinf evaluation"
    version: Literal[1] = VERSION
    step: int
    """Iterations that the policy was trained for; 0 where that is not known."""
    task_id: str = ""
    """The simulator's name of the task, such as a suite; empty where it has only one."""
    shard: Shard = Shard()
    set: SetPart | None = None
    """null unless it is one of the evaluations of a benchmark."""
    overall: SuccessRate
    groups: dict[str, SuccessRate]
    """By group of tasks; empty with fewer than two."""
    tasks: list[TaskRate]
    metrics: dict[str, float | None]
    """See the reference of metrics."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What the trials depend on: `env` and `sampling` as in the configuration, `repeats`, how often
    each start was run, and `policy`, with the checksums of its files, where the evaluation was not
    part of a training."""
    episodes: list[Trial]
    """Each trial once, by task, start and repeat."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        env = self.settings.get("env", {})
        if not isinstance(env, dict) or (env and not env.keys() >= _SHOWN):
            raise ValueError(f"settings.env has to be a map with {', '.join(sorted(_SHOWN))}")
        if not isinstance(self.settings.get("sampling", {}), dict):
            raise ValueError("settings.sampling has to be a map")
        tasks = {task.task for task in self.tasks}
        if len(tasks) < len(self.tasks):
            raise ValueError("a task stands twice")
        if unknown := {trial.task for trial in self.episodes} - tasks:
            raise ValueError(f"there are trials of task {min(unknown)}, which is not in tasks")
        if len({trial.key for trial in self.episodes}) < len(self.episodes):
            raise ValueError("a trial stands twice")
        return self

    def text(self) -> str:
        """As JSON."""
        return self.model_dump_json(indent=1) + "\n"


def labels_of(tasks: Sequence[TaskRate]) -> dict[int, str]:
    """What a reader calls each task, by index: as it is labelled, with its index where others are
    labelled alike, as those of LIBERO-Plus are.
    """
    times = Counter(task.label for task in tasks)
    return {t.task: f"task {t.task}: {t.label}" if times[t.label] > 1 else t.label for t in tasks}


def evaluation_file(
    step: int,
    result: EvalResult,
    tasks: Sequence[str],
    groups: Sequence[str],
    episodes: Sequence[EpisodeResult],
    settings: Mapping[str, Any],
    shard: Shard,
    videos: Mapping[TrialKey, str],
    task_id: str = "",
) -> EvaluationFile:
    """Of the episodes that an evaluation finished.

    Args:
        tasks: instruction of each task, by index.
        groups: group of each task; empty where they have none.
        videos: of those trials that have one.
        task_id: the simulator's name of the task, as `SimulatorParams.task_id` has it.
    """
    trials = sorted((_trial(episode, videos) for episode in episodes), key=lambda one: one.key)
    return EvaluationFile(
        step=step,
        task_id=task_id,
        shard=shard,
        overall=SuccessRate.of(result.overall),
        groups={name: SuccessRate.of(outcome) for name, outcome in result.groups.items()},
        tasks=[
            TaskRate.of(
                outcome,
                task=index,
                instruction=tasks[index],
                group=groups[index] if groups else None,
            )
            for index, outcome in result.tasks.items()
        ],
        metrics={name: _finite(value) for name, value in result.metrics.reduce().items()},
        settings=dict(settings),
        episodes=trials,
    )


def key_of(episode: EpisodeResult) -> TrialKey:
    """Which trial an episode is."""
    return TrialKey(*episode.start, episode.repeat)


def film_name(episode: EpisodeResult) -> str:
    """File of the video of one trial."""
    task, trial, _ = episode.start
    outcome = "success" if episode.success_once else "failure"
    return f"task_{task:03d}-start_{trial:05d}-repeat_{episode.repeat}-{outcome}.mp4"


def film_folder(videos: Path, step: int) -> Path:
    """Folder of the videos of single trials, below that of all videos."""
    return videos / f"step_{step:05d}"


def read_evaluation(path: Path) -> EvaluationFile:
    """A result file.

    Raises:
        UserError: it is none, or of another version.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "name a result file") from error
    try:
        return EvaluationFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        said = first["msg"].removeprefix("Value error, ")
        raise UserError(
            f"{path} is no result file of version {VERSION}: {where}: {said}",
            "evaluate with this version of RLinf, and name eval/step_N.json of that run",
        ) from error


def newest_evaluation(path: Path) -> Path:
    """The result file that a path stands for: itself, or of a run's folder that of the last step.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return path
    found = sorted((path / "eval").glob("step_*.json"), key=_step_of)
    if not found:
        raise UserError(
            f"{path}: no evaluation has finished there",
            "name the folder of a run, or one of its files eval/step_N.json",
        )
    return found[-1]


def _step_of(path: Path) -> int:
    number = path.stem.removeprefix("step_")
    return int(number) if number.isdigit() else -1


_SAME_IN_SHARDS = {
    "sampling": "algorithm.sampling_params",
    "repeats": "algorithm.eval_rollout_epoch",
}
"""Settings beside `env` and `policy` -> the key that they come from."""


def merged(parts: Sequence[EvaluationFile], names: Sequence[str]) -> EvaluationFile:
    """One evaluation from its shards.

    Args:
        names: of the parts, for messages.

    Raises:
        UserError: they are not the shards of one evaluation, or one is missing.
    """
    first = parts[0]
    for part, name in zip(parts, names, strict=True):
        if (what := different(first, part)) is not None:
            raise UserError(
                f"{name} and {names[0]} are not of one evaluation: {what}",
                "name the shards of one evaluation, which differ in env.eval.shard alone",
            )
        if part.step != first.step or part.shard.count != first.shard.count:
            raise UserError(
                f"{name} is of step {part.step} and one of {part.shard.count} shards, {names[0]} "
                f"of step {first.step} and one of {first.shard.count}",
                "name the shards of one evaluation",
            )
        if part.settings.get("policy") != first.settings.get("policy"):
            raise UserError(
                f"{name} and {names[0]} evaluate different policies", "name shards of one policy"
            )
        for key, told in _SAME_IN_SHARDS.items():
            if part.settings.get(key) != first.settings.get(key):
                raise UserError(
                    f"{name} and {names[0]} are not of one evaluation: {told} = "
                    f"{part.settings.get(key)} and {first.settings.get(key)}",
                    "name the shards of one evaluation, which differ in env.eval.shard alone",
                )
    found = [part.shard.index for part in parts]
    if missing := sorted(set(range(first.shard.count)) - set(found)):
        raise UserError(
            f"shard {', '.join(map(str, missing))} of {first.shard.count} is missing",
            f"run it with env.eval.num_shards={first.shard.count} env.eval.shard={missing[0]}",
        )
    if len(set(found)) < len(found):
        raise UserError("a shard is named twice", "name each shard once")
    trials = Counter(trial.key for part in parts for trial in part.episodes)
    if doubled := [key for key, times in trials.items() if times > 1]:
        one = min(doubled)
        raise UserError(
            f"{plural(len(doubled), 'trial')} stand in more than one place, such as task "
            f"{one.task}, start {one.trial}, seed {one.seed}, repeat {one.repeat}",
            "name the shards of one evaluation, as `rlinf eval` wrote them",
        )
    if not trials:
        raise UserError("no shard has a trial", "evaluate with fewer shards")
    labels = {one.task: one for part in parts for one in part.tasks}
    tasks = [labels[i].instruction if i in labels else "" for i in range(max(labels) + 1)]
    groups = [(labels[i].group or "") if i in labels else "" for i in range(max(labels) + 1)]
    episodes = [episode_of(trial) for part in parts for trial in part.episodes]
    videos = {one.key: one.video for part in parts for one in part.episodes if one.video}
    grouped = groups if any(groups) else []
    result = evaluation(first.overall.label, episodes, tasks, grouped)
    return evaluation_file(
        *(first.step, result, tasks, grouped, episodes, first.settings, Shard(), videos),
        task_id=first.task_id,
    )


def episode_of(trial: Trial) -> EpisodeResult:
    """The episode that a trial was made of."""
    paid = trial.episode_return
    return EpisodeResult(
        env=trial.env,
        start=Start(trial.task, trial.trial, trial.seed),
        length=trial.length,
        episode_return=math.nan if paid is None else paid,
        success_once=trial.success_once,
        success_at_end=trial.success_at_end,
        terminated=trial.ended in ("success", "failure"),
        repeat=trial.repeat,
    )


def different(first: EvaluationFile, second: EvaluationFile) -> str | None:
    """Why two evaluations do not have the same starts in the same environment; None if they do."""
    ours, theirs = (_flat(one.settings.get("env", {})) for one in (first, second))
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            return f"env.eval.{key} = {ours.get(key)} and {theirs.get(key)}"
    told = [{one.task: one.instruction for one in part.tasks} for part in (first, second)]
    for task in sorted(told[0].keys() & told[1].keys()):
        if told[0][task] != told[1][task]:
            return f"task {task} is '{told[0][task]}' and '{told[1][task]}'"
    return None


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        inner = _flat(value, f"{above}{name}.") if isinstance(value, dict) else None
        found |= {f"{above}{name}": value} if inner is None else inner
    return found


def _trial(episode: EpisodeResult, videos: Mapping[TrialKey, str]) -> Trial:
    return Trial(
        **episode.start._asdict(),
        repeat=episode.repeat,
        success_once=episode.success_once,
        success_at_end=episode.success_at_end,
        length=episode.length,
        episode_return=_finite(episode.episode_return),
        ended=_ended(episode),
        env=episode.env,
        video=videos.get(key_of(episode)),
    )


def _ended(episode: EpisodeResult) -> EndedBy:
    if episode.terminated:
        return "success" if episode.success_at_end else "failure"
    return "step limit" if math.isfinite(episode.episode_return) else "broken"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
