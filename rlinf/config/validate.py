"""A plain dict becomes the typed tree, or a list of problems that name key, value and fix."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from rlinf.config import tree
from rlinf.config.base import HIDDEN
from rlinf.config.nearest import nearest, same_words
from rlinf.config.problems import Problem
from rlinf.config.refused import ABSENT
from rlinf.config.schema import Config
from rlinf.config.tree import Tree
from rlinf.errors import UserError
from rlinf.registry import imported, models, simulators

logger = logging.getLogger(__name__)

Details: TypeAlias = Mapping[str, Any]
"""One entry of `ValidationError.errors()`."""


def validate(plain: Tree) -> Config | list[Problem]:
    """Strict: no text becomes a number, no number a truth value."""
    try:
        return Config.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        # Where a value may have several types each of them complains: keep the first complaint of
        # a key, and none about a section if something inside it is wrong.
        first: dict[str, Details] = {}
        for details in error.errors():
            first.setdefault(_key(details, plain), details)
        inner = [key for key in first if not any(other.startswith(f"{key}.") for other in first)]
        return [_problem(key, first[key], plain) for key in inner]


def read_stored(path: Path, model_path: Path | None = None) -> Config:
    """The configuration that a run stored as JSON or YAML, maybe one of another version.

    Keys that this version does not know are left out, with a warning.

    Args:
        model_path: folder of the policy, which a portable configuration does not name.

    Raises:
        UserError: the file is damaged, or what it holds cannot be understood.
    """
    try:
        text = path.read_text(encoding="utf-8")
        plain = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        if model_path is not None and isinstance(plain, dict):
            tree.put(plain, "actor.model.model_path", str(model_path))
        return _known_part(plain, path)
    except (OSError, ValueError, yaml.YAMLError) as error:  # pydantic's are ValueErrors, too
        raise UserError(
            f"{path} cannot be read as a configuration: {error}",
            f"the {'checkpoint' if path.suffix == '.json' else 'folder'} is damaged, or of a "
            "version too different: name another one, or use the version that wrote it",
        ) from error


def _known_part(plain: Tree, path: Path) -> Config:
    try:
        return Config.model_validate(plain)
    except ValidationError as error:
        errors = error.errors()
        unknown = sorted({_key(e, plain) for e in errors if e["type"] == "extra_forbidden"})
        if not unknown:
            raise
        logger.warning("%s: left out what this version does not know: %s", path, ", ".join(unknown))
        for key in unknown:
            tree.take(plain, key)
        return Config.model_validate(plain)


def schema_keys() -> dict[str, str]:
    """Every dotted key of the tree with its description, over all models and simulators."""
    return dict(_section_keys(Config, ""))


def _section_keys(section: type[BaseModel], above: str) -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        key = f"{above}{name}"
        yield key, " ".join((field.description or "").split())
        for inner in sections_in(field.annotation):
            yield from _section_keys(inner, f"{key}.")


def sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Section classes that a field holds itself, not inside a list or map."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) not in (tuple, dict):
        for argument in get_args(annotation):
            yield from sections_in(argument)


def _key(details: Details, plain: Tree) -> str:
    """Dotted key of an error; pydantic's names of union members between the keys are left out."""
    parts: list[str] = []
    node: Any = plain
    location = details["loc"]
    for element in location:
        if isinstance(node, list):
            node = dict(enumerate(node))
        if isinstance(node, Mapping) and element in node:
            node = node[element]
            parts.append(str(element))
    if _lacks_key(details):
        parts.append(str(location[-1]))
    return ".".join(parts)


_LENGTHS = {  # of a list
    "missing": "has too few values",
    "too_short": "has too few values",
    "too_long": "has too many values",
}


def _lacks_key(details: Details) -> bool:
    """Whether a key is missing; not so a value of a list that is too short."""
    return details["type"] == "missing" and isinstance(details["loc"][-1], str)


def _problem(key: str, details: Details, plain: Tree) -> Problem:
    if details["type"] == "extra_forbidden":
        return _unknown(key, plain)
    context = details.get("ctx", {})
    if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        key += "." + context["discriminator"].strip("'")
    description = _description(key, plain)
    if _lacks_key(details) or details["type"] == "union_tag_not_found":
        return Problem(f"{key}: missing", f"set it: {description}")
    value = HIDDEN if "env_vars" in key.split(".") else tree.get(plain, key)
    allowed = context.get("expected") or context.get("expected_tags") or ""
    choices = re.findall(r"'([^']*)'", allowed)
    rule = f"must be {' or '.join(choices)}" if choices else _rule(details)
    absent = ABSENT.get(key.rpartition(".")[2], {}).get(str(value))
    if absent and choices:
        return Problem(f"{key} = {value}: {absent}", f"choose {' or '.join(choices)}")
    refused = context.get("error")
    if isinstance(refused, UserError) and refused.fix:
        return Problem(f"{key} = {json.dumps(value)}: {refused.message}", refused.fix)
    near = nearest(str(value), choices)
    fix = f"did you mean {near}?" if near else f"give what it means: {description}"
    if len(choices) == 1:
        fix = f"set {key}={choices[0]}"
    return Problem(f"{key} = {json.dumps(value)}: {rule}", fix)


def _description(key: str, plain: Tree) -> str:
    """Of the key, as the chosen simulator or model has it, or of the section it is in."""
    parent, _, name = key.rpartition(".")
    chosen = _chosen_section(parent, plain)
    if chosen is not None and name in chosen.model_fields:
        return " ".join((chosen.model_fields[name].description or "").split())
    known = schema_keys()
    while key and not known.get(key):
        key = key.rpartition(".")[0]
    return known.get(key, "")


def _rule(details: Details) -> str:
    if details["type"] in _LENGTHS:
        return _LENGTHS[details["type"]]
    message = details["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "must be", 1)
    return message.replace("a valid array", "a list, written [a,b]")


def _unknown(key: str, plain: Tree) -> Problem:
    """Nearest key beside it, then one of the same name elsewhere, then all there are."""
    known = schema_keys()
    if key in known:
        return Problem(f"{key}: the chosen simulator or model has no such key", "remove it")
    parent, _, name = key.rpartition(".")
    chosen = _chosen_section(parent, plain)
    siblings = (
        [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == parent]
        if chosen is None
        else list(chosen.model_fields)
    )
    near = nearest(name, siblings) or same_words(name, siblings)
    if near:
        return Problem(f"{key}: unknown key", f"did you mean {f'{parent}.{near}'.lstrip('.')}?")
    elsewhere = [k for k in known if k.rpartition(".")[2] == name and _is_chosen(k, plain)]
    if elsewhere:
        return Problem(f"{key}: unknown key", f"did you mean {' or '.join(elsewhere)}?")
    listed = f"; {parent or 'the top level'} has {', '.join(siblings)}" if siblings else ""
    return Problem(f"{key}: unknown key{listed}", "remove it or correct its name")


def _is_chosen(key: str, plain: Tree) -> bool:
    """Whether a known key is one of the chosen simulator or model, or of neither."""
    parent, _, name = key.rpartition(".")
    chosen = _chosen_section(parent, plain)
    return chosen is None or name in chosen.model_fields


def _chosen_section(section: str, plain: Tree) -> type[BaseModel] | None:
    """The class of a section that another key chooses; None for the other sections."""
    if section == "actor.model":
        model = models().get(str(tree.get(plain, "actor.model.model_type")))
        return imported(model.settings) if model is not None else None
    above, _, name = section.rpartition(".")
    simulator = tree.get(plain, f"{above}.simulator_type") if name == "init_params" else None
    spec = simulators().get(str(simulator))
    return imported(spec.settings) if spec is not None else None
