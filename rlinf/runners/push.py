"""`rlinf push`: a trained policy on a hub, with a card that says what it is worth."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from rlinf.assets.hub import hub_endpoint, no_such_name, upload
from rlinf.config.schema import Config
from rlinf.config.validate import read_stored
from rlinf.errors import UserError
from rlinf.models.export import write_policy
from rlinf.models.shards import CONFIG_FILE
from rlinf.runners import checkpoint
from rlinf.runners.model_card import Licence, model_card

CARD = "README.md"
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*$", re.S | re.M)


def push(
    run: Path,
    repository: str,
    say: Callable[[str], None],
    *,
    adapter: bool = False,
    private: bool = False,
    dry_run: bool = False,
    licence: str | None = None,
    base: str | None = None,
) -> None:
    """Exports the policy of a run, writes its card, and uploads both.

    Args:
        run: folder of a run, whose best checkpoint is taken, else its latest; or a checkpoint.
        repository: OWNER/NAME.
        say: takes the lines that the user reads.
        adapter: the LoRA adapter alone.
        private: a new repository is private; one that is public is refused.
        dry_run: print what would be uploaded; no connection is opened.
        licence: of the weights, as hubs write it; None reads it from the card of the base.
        base: OWNER/NAME of the model that was trained.

    Raises:
        UserError: run, name or licence are not known, or the hub refuses.
    """
    for name in filter(None, (repository, base)):
        if not _NAME.fullmatch(name):
            raise no_such_name(name)
    endpoint = hub_endpoint(use_mirror=False)
    folder = checkpoint.verified(_checkpoint_of(run), "RUN")
    config = read_stored(folder / CONFIG_FILE)
    step = checkpoint.step_of(folder)
    granted = licence_of(config, licence, base)
    evaluation = _evaluation(folder.parent.parent, step)
    best_of = _chosen_from(folder)
    card = model_card(config, repository, step, evaluation, granted, base, adapter, best_of)
    with tempfile.TemporaryDirectory(prefix="rlinf-push-", dir=folder.parent.parent) as made:
        out = Path(made) / "policy"
        write_policy(folder, out, adapter)
        (out / CARD).write_text(card, encoding="utf-8")
        say(f"from {folder}")
        say(f"to {endpoint}/{repository}" + (" (private)" if private else ""))
        for path in sorted(file for file in out.rglob("*") if file.is_file()):
            say(f"  {path.relative_to(out).as_posix()}  {_size(path.stat().st_size)}")
        if dry_run:
            say(f"\n{card}\nnothing was uploaded (--dry-run)")
            return
        say(f"uploaded: {upload(out, repository, endpoint, private)}")


def _checkpoint_of(run: Path) -> Path:
    """The best checkpoint of a run, else its latest; a checkpoint is its own."""
    pointers = [run / "checkpoints" / name for name in (checkpoint.BEST, checkpoint.LATEST)]
    named = next((pointer for pointer in pointers if pointer.is_file()), run)
    return checkpoint.follow(named)


def licence_of(config: Config, given: str | None, base: str | None) -> Licence:
    """The licence that was named, else the one in the card of the base; it is never guessed.

    Raises:
        UserError: none is named.
    """
    path = config.actor.model.model_path
    found = _fields_of(Path(path).expanduser() / CARD) if path else {}
    name = found.get("license")
    theirs = name if isinstance(name, str) and name else None
    if given:
        source = "Named by who published it."
        if theirs and theirs != given:
            source += f" The card of the base says {theirs}."
        return Licence(given, source=source)
    of = base or "the model that was trained"
    if theirs:
        title, link = found.get("license_name"), found.get("license_link")
        source = f"It is that of {of}, as its card says."
        return Licence(theirs, str(title) if title else None, str(link) if link else None, source)
    if path and sys.stdin.isatty():
        typed = input(f"licence of {of} in {path} (apache-2.0, mit, ...): ").strip()
        if typed:
            return licence_of(config, typed, base)
    where = f"{path} has no {CARD} that names one" if path else "no model was given to start from"
    raise UserError(
        f"the licence of the weights is not known: {where}",
        "name it, as hubs write it: --license apache-2.0",
    )


def _fields_of(card: Path) -> dict[str, Any]:
    """What stands in front of a card; nothing where there is none, or it is damaged."""
    try:
        found = _FRONT.match(card.read_text(encoding="utf-8", errors="replace"))
        fields = yaml.safe_load(found[1]) if found else None
    except (OSError, yaml.YAMLError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _evaluation(run: Path, step: int) -> dict[str, Any] | None:
    path = run / "eval" / f"step_{step}.json"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        content = None
    if not isinstance(content, dict) or not content.keys() >= {"overall", "groups", "tasks"}:
        raise UserError(
            f"{path} is no result file",
            "evaluate the checkpoint again, or remove the file: the card says then that it was not",
        )
    return content


def _chosen_from(folder: Path) -> int:
    """Evaluations after training that this checkpoint is the best of; 0 if it is not the best."""
    pointer = folder.parent / checkpoint.BEST
    if not pointer.is_file() or checkpoint.follow(pointer).name != folder.name:
        return 0
    found = (folder.parent.parent / "eval").glob("step_*.json")
    return sum(path.stem != "step_0" for path in found)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
