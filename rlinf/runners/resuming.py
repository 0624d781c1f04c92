"""Before a run is continued: is it still the same run?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rlinf.config.problems import Problem, error_of
from rlinf.config.resume import changes
from rlinf.config.schema import Config
from rlinf.config.tree import Tree, get
from rlinf.models.shards import CONFIG_FILE, has_reference
from rlinf.runners import checkpoint
from rlinf.runners.run import Run
from rlinf.runners.warmup import given_weights


def compare_with_checkpoint(config: Config, run: Run, imitates: bool = False) -> None:
    """Tells what has changed since the checkpoint that is to be continued; see below."""
    text = changes_since_checkpoint(config, imitates)
    if text is not None:
        run.console.note(text)


def changes_since_checkpoint(config: Config, imitates: bool = False) -> str | None:
    """What has changed since the checkpoint that is to be continued; nothing is written.

    Args:
        imitates: the run learns from demonstrations alone.

    Raises:
        UserError: the checkpoint would mean nothing to this configuration.
    """
    continued = configuration_to_continue(config)
    if continued is None:
        return None
    folder, old = continued
    found = changes(old, config, imitates)
    problems = list(found.problems(config.runner.resume_force))
    if not imitates and not config.runner.resume_force:
        problems += _other_reference(old, config, folder)
    if problems:
        raise error_of(problems, config.runner.logger.run_dir.name)
    lines = [*found.task, *found.noted]
    if not lines:
        return None
    return "\n".join([f"changed since {folder}:", *(f"  {change}" for change in lines)])


def configuration_to_continue(config: Config) -> tuple[Path, Tree] | None:
    """The checkpoint and its configuration; None if there is none, or it is damaged."""
    folder = _newest(config)
    if folder is None or not (folder / CONFIG_FILE).is_file():
        return None
    try:
        old: Tree = json.loads((folder / CONFIG_FILE).read_text())
    except ValueError:  # damaged: reading the checkpoint reports it
        return None
    return folder, old


def _other_reference(old: Tree, config: Config, folder: Path) -> Iterator[Problem]:
    """The reference policy of a new KL term cannot be found: training started elsewhere.

    A checkpoint that was written without a KL term holds none. Then it is what the configuration
    starts from, if the run has started from there.
    """
    if config.algorithm.kl_beta == 0 or has_reference(folder):
        return
    now = given_weights(config)
    if now.imitation is not None and now.runner.ckpt_path is now.actor.model.model_path is None:
        return  # of a warm-up, which has a name of its own for each content
    new: Tree = now.model_dump(mode="json")
    for key in ("runner.ckpt_path", "actor.model.model_path", "actor.model.lora_path"):
        if get(old, key) != get(new, key):
            yield Problem(
                f"algorithm.kl_beta = {config.algorithm.kl_beta}: {folder} holds no reference "
                f"policy, and training did not start from {key} = {get(new, key)}",
                f"set {key}={get(old, key)}; or measure the KL from that policy all the same with "
                "runner.resume_force=true",
            )


def _newest(config: Config) -> Path | None:
    asked = config.runner.resume_dir
    if asked is None:
        return None
    if asked != "auto":
        return checkpoint.follow(Path(asked).expanduser())
    return next(iter(checkpoint.folders(config.runner.logger.run_dir / "checkpoints")), None)
