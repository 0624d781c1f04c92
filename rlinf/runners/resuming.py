"""Before a run is continued: is it still the same run?"""

from __future__ import annotations

import json
from pathlib import Path

from rlinf.config.problems import error_of
from rlinf.config.resume import changes
from rlinf.config.schema import Config
from rlinf.models.shards import CONFIG_FILE
from rlinf.runners import checkpoint
from rlinf.runners.run import Run


def compare_with_checkpoint(config: Config, run: Run, imitates: bool = False) -> None:
    """Tells what has changed since the checkpoint that is to be continued; see below."""
    told = changes_since_checkpoint(config, imitates)
    if told is not None:
        run.console.note(told)


def changes_since_checkpoint(config: Config, imitates: bool = False) -> str | None:
    """What has changed since the checkpoint that is to be continued; nothing is written.

    Args:
        imitates: the run learns from demonstrations alone.

    Raises:
        UserError: the checkpoint would mean nothing to this configuration.
    """
    folder = _newest(config)
    if folder is None or not (folder / CONFIG_FILE).is_file():
        return None
    try:
        old = json.loads((folder / CONFIG_FILE).read_text())
    except ValueError:  # damaged: whoever reads the checkpoint says so
        return None
    found = changes(old, config, imitates)
    problems = list(found.problems(config.runner.resume_force))
    if problems:
        raise error_of(problems, config.runner.logger.run_dir.name)
    told = [*found.task, *found.told]
    if not told:
        return None
    return "\n".join([f"changed since {folder}:", *(f"  {change}" for change in told)])


def _newest(config: Config) -> Path | None:
    asked = config.runner.resume_dir
    if asked is None:
        return None
    if asked != "auto":
        return checkpoint.follow(Path(asked).expanduser())
    return next(iter(checkpoint.folders(config.runner.logger.run_dir / "checkpoints")), None)
