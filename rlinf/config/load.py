"""From a configuration's name to checked, typed values: the one way in.

compose (Hydra) -> our spellings -> refuse dead keys -> typed tree -> rules -> machine -> plan.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from rlinf.config import (
    aliases,
    checks,
    derive,
    dialect,
    memory,
    preflight,
    recipes,
    step_limits,
    without_effect,
)
from rlinf.config.base import ModelConfig
from rlinf.config.compose import compose, given_keys, locate
from rlinf.config.derive import Plan
from rlinf.config.machine import Machine, this_machine
from rlinf.config.paths import exists, expanded
from rlinf.config.problems import error_of
from rlinf.config.refused import take_refused
from rlinf.config.run_folder import set_log_path
from rlinf.config.schema import Config
from rlinf.config.tree import Tree, get, put
from rlinf.config.validate import validate
from rlinf.registry import imported, models


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration ready to run."""

    name: str
    config: Config
    plan: Plan
    notes: tuple[str, ...]  # other spellings that were understood
    warnings: tuple[str, ...]


def load(
    name_or_path: str,
    overrides: Sequence[str] = (),
    machine: Machine | None = None,
    purpose: str = "",
    take: Callable[[Path], bool] = lambda folder: True,
) -> Loaded:
    """Loads and checks a configuration; starts nothing, and writes nothing but what `take` does.

    Args:
        name_or_path: a name in `examples/embodiment/config`, or a YAML file.
        overrides: `key=value`, in Hydra's grammar.
        machine: what to check against; None for this machine.
        purpose: suffix of a new run's folder name where it is no training.
        take: whether a new folder is this run's; see `run_folder.Reservation.take`.

    Raises:
        UserError: with every problem found.
    """
    file = locate(name_or_path)
    dialect.refuse(file)
    name = file.stem
    given = given_keys(overrides)
    chosen: list[str] = []

    def prepare(composed: DictConfig) -> None:
        chosen.extend(set_log_path(composed, name, purpose, take))
        step_limits.fill_in(composed)
        aliases.let_command_line_win(composed, given)

    plain = compose(file, overrides, prepare)
    recipes.take(plain)
    notes, problems = aliases.apply(plain, given)
    problems += take_refused(plain)
    _set_video_folders(plain)
    chosen += _choose_checkpoint(plain)
    _set_model_path(plain)
    config = validate(plain)
    if not isinstance(config, Config):
        raise error_of([*problems, *config], name)
    machine = machine or this_machine()
    nodes = derive.cluster_nodes(config, machine.node)
    problems += [*checks.check(config, nodes, purpose), *preflight.check(config)]
    if problems:
        raise error_of(problems, name)
    plan = derive.plan(config, nodes)
    too_large = None if purpose else memory.problem(config, plan, _gpu_bytes(config, machine))
    if too_large is not None:
        raise error_of([too_large], name)
    warnings = checks.warnings(config, plan.placement, purpose)
    warnings += preflight.warnings(plan, machine)
    warnings += preflight.ray_tracing(config, plan, machine, purpose)
    warnings += config.actor.model.warnings()
    notes += [*config.actor.model.notes(), *step_limits.notes(config)]
    notes += chosen
    if checks.learns(config, purpose):
        notes += [*without_effect.notes(config), *_recovery(config, plan)]
    return Loaded(name, config, plan, tuple(notes), tuple(warnings))


def _gpu_bytes(config: Config, machine: Machine) -> int | None:
    """Memory of a GPU of the cluster; None where it is not known."""
    given = config.cluster.accelerator_memory_gb
    return machine.accelerator_bytes if given is None else int(given * 1e9)


def _recovery(config: Config, plan: Plan) -> list[str]:
    """What a death of the actor costs, where that is more than the iteration it was in."""
    if plan.host_copy_bytes or config.runner.recovery_memory_gb == 0:
        return []
    size = derive.node_state_bytes(config, plan.placement) / 1e9
    return [
        "an actor that dies goes on from the newest checkpoint (runner.save_interval): its state "
        f"on a node, {size:.1f} GB, is more than runner.recovery_memory_gb"
    ]


def _set_video_folders(plain: Tree) -> None:
    """`<run folder>/video/{train,eval}` where no folder is given."""
    log_path, experiment = (
        get(plain, f"runner.logger.{name}") for name in ("log_path", "experiment_name")
    )
    for part in ("train", "eval"):
        section = get(plain, f"env.{part}")
        if not isinstance(section, dict):
            continue
        video = section.setdefault("video_cfg", {})
        if isinstance(video, dict) and not video.get("video_base_dir"):
            folder = Path(str(log_path)) / str(experiment or "") / "video" / part
            video["video_base_dir"] = str(folder)


def _choose_checkpoint(plain: Tree) -> list[str]:
    """The folder of a run in `runner.ckpt_path` stands for its best checkpoint, or its latest.

    Returns:
        What was chosen.
    """
    path = get(plain, "runner.ckpt_path")
    if not isinstance(path, str):
        return []
    folder = expanded(path)
    folder = folder if folder.name == "checkpoints" else folder / "checkpoints"
    for pointer in ("best", "latest"):
        if exists(str(folder / pointer)):
            put(plain, "runner.ckpt_path", str(folder / pointer))
            return [f"runner.ckpt_path: {path} holds checkpoints; the {pointer} one is taken"]
    return []


def _set_model_path(plain: Tree) -> None:
    """A policy folder in `runner.ckpt_path` takes the place of the given model."""
    path, model = get(plain, "runner.ckpt_path"), get(plain, "actor.model")
    if not isinstance(path, str) or not isinstance(model, dict):
        return
    spec = models().get(str(model.get("model_type")))
    if spec is not None:
        settings: type[ModelConfig] = imported(spec.settings)
        settings.take_folder(model, path)
