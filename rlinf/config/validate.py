"""A plain dict becomes the typed tree, or a list of problems that name key, value and fix."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rlinf.config import tree
from rlinf.config.problems import Problem
from rlinf.config.schema import Config
from rlinf.config.tree import Tree


def validate(plain: Tree) -> Config | list[Problem]:
    """Strict: no text becomes a number, no number a truth value."""
    try:
        return Config.model_validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        found = [(_key(details["loc"], plain), details) for details in error.errors()]
        # Where a value may have several types, each of them complains: the first stands for all.
        first = dict(reversed(found))
        return [_problem(key, first[key], plain) for key in dict.fromkeys(key for key, _ in found)]


def schema_keys() -> dict[str, str]:
    """Every dotted key of the tree with its description, over all models and simulators."""
    return dict(_section_keys(Config, ""))


def _section_keys(section: type[BaseModel], above: str) -> Iterator[tuple[str, str]]:
    for name, field in section.model_fields.items():
        key = f"{above}{name}"
        yield key, " ".join((field.description or "").split())
        for inner in _sections_in(field.annotation):
            yield from _section_keys(inner, f"{key}.")


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Section classes that a field holds itself, not inside a list or map."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) not in (tuple, dict):
        for argument in get_args(annotation):
            yield from _sections_in(argument)


def _key(location: tuple[int | str, ...], plain: Tree) -> str:
    """Dotted key of an error; pydantic's names of union members between the keys are left out."""
    parts: list[str] = []
    node: Any = plain
    for depth, element in enumerate(location):
        inside = isinstance(node, Mapping) and element in node
        inside |= isinstance(node, list) and isinstance(element, int)
        if inside:
            node = node[element]
        elif not isinstance(node, Mapping) or depth < len(location) - 1:
            continue
        parts.append(str(element))
    return ".".join(parts)


def _problem(key: str, details: ErrorDetails, plain: Tree) -> Problem:
    if details["type"] == "extra_forbidden":
        return _unknown(key)
    description = schema_keys().get(key, "")
    if details["type"] == "missing":
        return Problem(f"{key}: missing", f"set it: {description}" if description else "set it")
    value = tree.get(plain, key)
    message = f"{key} = {json.dumps(value)}: {_rule(details)}"
    allowed = str(
        details.get("ctx", {}).get("expected", details.get("ctx", {}).get("expected_tags", ""))
    )
    near = _nearest(
        str(value), [name.strip(" '") for name in allowed.replace(" or ", ",").split(",")]
    )
    if near:
        return Problem(message, f"did you mean {near}?")
    return Problem(message, description)


def _rule(details: ErrorDetails) -> str:
    if details["type"] == "union_tag_invalid":
        return f"must be {details['ctx']['expected_tags'].replace(', ', ' or ')}"
    if details["type"] == "union_tag_not_found":
        return f"needs {details['ctx']['discriminator']}"
    message = details["msg"].removeprefix("Value error, ")
    return message.replace("Input should be", "must be", 1)


def _unknown(key: str) -> Problem:
    """Nearest key beside it, then one of the same name elsewhere, then all there are."""
    known = schema_keys()
    parent, _, name = key.rpartition(".")
    siblings = [k.rpartition(".")[2] for k in known if k.rpartition(".")[0] == parent]
    near = _nearest(name, siblings)
    if near:
        return Problem(f"{key}: unknown key", f"did you mean {f'{parent}.{near}'.lstrip('.')}?")
    elsewhere = [k for k in known if k.rpartition(".")[2] == name] or get_close_matches(
        key, known, n=1, cutoff=0.8
    )
    if elsewhere:
        return Problem(f"{key}: unknown key", f"did you mean {' or '.join(elsewhere)}?")
    listed = f"; {parent or 'the top level'} has {', '.join(siblings)}" if siblings else ""
    return Problem(f"{key}: unknown key{listed}", "remove it or correct its name")


def _nearest(name: str, candidates: list[str]) -> str | None:
    return next(iter(get_close_matches(name, candidates, n=1, cutoff=0.6)), None)
