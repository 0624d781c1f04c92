"""`rlinf convert`: a configuration of the published RLinf as one of ours, by its meaning."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from rlinf.config import aliases, checks, dialect, tree
from rlinf.config.dialect import ConfigDialect
from rlinf.config.problems import Problem
from rlinf.config.schema import Config
from rlinf.config.tree import Tree
from rlinf.config.validate import validate
from rlinf.convert.draft import Draft
from rlinf.convert.learning import convert_learning
from rlinf.convert.leftovers import leave_the_rest
from rlinf.convert.policy import convert_policy
from rlinf.convert.read import Foreign, read
from rlinf.convert.run import assumed_nodes, convert_run
from rlinf.convert.tasks import convert_tasks
from rlinf.convert.write import leaves, render
from rlinf.errors import UserError


@dataclass(frozen=True, slots=True)
class Converted:
    """A configuration of ours."""

    text: str  # the file
    kept: int  # keys that it sets
    left_out: int  # keys of theirs that it does not need
    notes: tuple[str, ...]  # what was assumed
    open: tuple[Problem, ...]  # what is still to be decided before it runs


def convert(file: Path, version: ConfigDialect | None = None) -> Converted:
    """Converts a main file with its groups.

    Args:
        file: main YAML file; its groups lie in folders beside it, or are known by name.
        version: of the published RLinf that it is for; None guesses by the keys.

    Raises:
        UserError: it is none of theirs, or holds what cannot be converted.
    """
    main = dialect.read_yaml(file)
    if not dialect.is_foreign(main):
        raise UserError(
            f"{file.name} is no configuration of the published RLinf",
            f"it needs no conversion: rlinf check {file}",
        )
    foreign = read(file)
    guessed = dialect.guess(foreign.plain)
    draft = Draft(deepcopy(foreign.plain), version or guessed)
    known = [convert_policy(draft), convert_tasks(draft)]
    if all(known):
        convert_learning(draft)
    if draft.lost:
        raise _cannot(file, draft, foreign)
    convert_run(draft)
    leave_the_rest(draft)
    aliases.apply(draft.ours)
    if draft.lost:
        raise _cannot(file, draft, foreign)
    notes = _notes(foreign, version, draft)
    return _written(file, draft, notes)


def _cannot(file: Path, draft: Draft, foreign: Foreign) -> UserError:
    lines = [f"{file.name} cannot be converted:"]
    for number, (what, advice) in enumerate(dict.fromkeys(draft.lost), start=1):
        lines += [f"  {number}. {what}", f"     fix: {advice}"]
    if foreign.missing:
        lines.append(f"  Not beside the file, and not known: {', '.join(foreign.missing)}")
    return UserError("\n".join(lines))


def _notes(foreign: Foreign, version: ConfigDialect | None, draft: Draft) -> list[str]:
    notes = (
        [] if version else [f"read as {draft.dialect}, by its keys; `--dialect` decides otherwise"]
    )
    if foreign.by_name:
        notes.append(
            f"not beside the file, taken as they are usually: {', '.join(foreign.by_name)}"
        )
    if foreign.missing:
        notes.append(
            f"not beside the file and not known, so nothing of it is here: "
            f"{', '.join(foreign.missing)}"
        )
    if foreign.unresolved:
        notes.append(
            f"refers to something that is not there, and was left out: "
            f"{', '.join(foreign.unresolved)}"
        )
    if draft.unknown:
        notes.append(f"not known, so look whether they matter: {', '.join(sorted(draft.unknown))}")
    return notes


def _written(file: Path, draft: Draft, notes: list[str]) -> Converted:
    config = validate(draft.ours)
    if isinstance(config, Config):
        problems = checks.check(config, assumed_nodes(draft.ours))
        short = _short(draft.ours, config)
    else:
        problems, short = config, draft.ours
    title = [f"Converted from {file.name} of the published RLinf by `rlinf convert`:", *notes]
    return Converted(
        text=render(title, short, draft),
        kept=sum(1 for _ in leaves(short)),
        left_out=len(draft.left_out),
        notes=tuple(notes),
        open=tuple(problems),
    )


def _short(ours: Tree, config: Config) -> Tree:
    """Values that differ from their defaults, in the order of the schema.

    Nothing of the shipped parts is built on: group files of theirs have the same names, and would
    take their place where the new file lies beside them.
    """
    differs = config.model_dump(mode="json", exclude_defaults=True)
    order = [key for key, _ in leaves(config.model_dump(mode="json"))]
    given = {key: value for key, value in leaves(ours) if tree.has(differs, key)}
    short: Tree = {}
    for key in sorted(given, key=order.index):
        tree.put(short, key, given[key])
    return short
