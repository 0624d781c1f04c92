"""What may differ between a checkpoint's configuration and the one that continues it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rlinf.config.base import ModelConfig
from rlinf.config.problems import Problem
from rlinf.config.schema import Config
from rlinf.config.tree import Tree, get, has, keys

_SILENT = (
    "cluster",
    "runner",
    "collect",
    "imitation",
    "rollout.model",
    "rollout.enable_offload",
    "actor.enable_offload",
    "env.enable_offload",
    *(f"env.{part}.{key}" for part in ("train", "eval") for key in ("num_processes", "video_cfg")),
    *(f"env.{part}.step_timeout_s" for part in ("train", "eval")),
)
"""Where and how a run is computed, watched and kept."""
_TOLD = ("runner.mode",)
"""An exception to the other lists, as is `ModelConfig.same_weights`: the run is another one, its
weights are the same."""
_IMITATION = ("actor.model", "imitation", "env.train.init_params")
"""All that imitation without a training reads; the simulator where its expert demonstrates."""
_IMITATION_SILENT = tuple(
    f"imitation.{key}"
    for key in ("cache_dir", "log_interval", "eval_interval", "save_interval", "micro_batch_size")
)
"""Where imitation keeps what it makes, and how it is watched."""
_TASK = (
    "imitation.image_keys",
    "imitation.statistics",
    "env.train.simulator_type",
    "env.train.init_params",
)
"""With another value, or with one of `ModelConfig.meaning`, the weights load and mean another
task."""
_SCHEDULES = ("actor.optim.total_training_steps", "imitation.schedule_steps")
"""What 0 and -1 stand for is reported where it is decided, see `runners/schedules.py`."""
_WEIGHTS = ("actor.model",)
"""With another value the weights do not fit."""


class Change(NamedTuple):
    """A key with another value than the checkpoint was written with."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


class Changes(NamedTuple):
    """All keys that differ and matter."""

    noted: list[Change]  # allowed; the run is another one from here on
    task: list[Change]  # only with `runner.resume_force`
    weights: list[Change]  # never

    def problems(self, forced: bool) -> Iterator[Problem]:
        """What refuses to continue."""
        for change in self.weights:
            yield Problem(
                f"{change.key} = {change.new}: the checkpoint to resume from has {change.old}, its "
                "weights do not fit",
                f"set {change.key}={change.old}, or begin a new run in another log_path",
            )
        for change in () if forced else self.task:
            yield Problem(
                f"{change.key} = {change.new}: the checkpoint to resume from was trained with "
                f"{change.old}",
                f"set {change.key}={change.old}; or begin a new run from its policy with "
                "runner.ckpt_path; or continue all the same with runner.resume_force=true",
            )


def changes(old: Tree, config: Config, imitates: bool) -> Changes:
    """What `config` changes.

    Args:
        imitates: the run learns from demonstrations alone.
        old: the configuration of the checkpoint, as `Config.model_dump(mode="json")` gave it. Keys
            that only one of both has count for nothing: another version wrote it.
    """
    new: Tree = config.model_dump(mode="json")
    found = Changes([], [], [])
    for key in keys(new):
        before, now = get(old, key), get(new, key)
        if not has(old, key) or before == now or isinstance(now, dict):
            continue
        kind = _kind(key, before, now, config, imitates)
        if kind is not None:
            getattr(found, kind).append(Change(key, before, now))
    return found


def _kind(key: str, before: Any, value: Any, config: Config, imitates: bool) -> str | None:
    """The list of `Changes` that a key belongs to; None where a change is not worth a word."""
    if imitates and (not _below(key, _IMITATION) or _below(key, _IMITATION_SILENT)):
        return None
    if key in _SCHEDULES and value <= 0:
        return None
    if key == "actor.model.model_path":
        if value is None:  # the start of the run, which a checkpoint has gone beyond
            return None
        model = config.actor.model
        return "task" if model.trains_adapters or _acts_otherwise(model, before) else "noted"
    model, params = config.actor.model, config.env.train.init_params
    if _below(key, (*_TOLD, *_keys("actor.model", model.same_weights))):
        return "noted"
    silent = (*_SILENT, *_keys("env.train.init_params", params.same_task))
    if not imitates and _below(key, silent):
        return None
    if _below(key, (*_TASK, *_keys("actor.model", model.meaning))):
        return "task"
    return "weights" if _below(key, _WEIGHTS) else "noted"


def _acts_otherwise(model: ModelConfig, path: str | None) -> bool:
    """Whether the model of another folder has another recipe or data set, as far as it is here."""
    if path is None or not (Path(path).expanduser() / "config.json").is_file():
        return False
    return model.model_copy(update={"model_path": path}).identity() != model.identity()


def _keys(section: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{section}.{name}" for name in names)


def _below(key: str, sections: tuple[str, ...]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)
