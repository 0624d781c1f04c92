"""A converted configuration as YAML: short, with a remark where a line means something else."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cache
from typing import Any

import yaml

from rlinf.config import tree
from rlinf.config.compose import CONFIG_DIR
from rlinf.config.convert.draft import Draft
from rlinf.config.tree import Tree

_WIDTH = 100
_GROUPS = (("env", "env.train"), ("env", "env.eval"), ("model", "actor.model"))
_CHOSEN_BY = {
    "env": (
        "init_params.task_suite_name",
        "init_params.id",
        "init_params.obs_mode",
    ),
    "model": ("model_type",),
}
_SHORTENED = ("libero_spatial_tiny", "maniskill_push_cube")
"""Groups that are not the plain task."""


def chosen_groups(ours: Tree) -> dict[str, str]:
    """Section -> name of the shipped group file to build on, where one is of the same task."""
    found = {}
    for group, section in _GROUPS:
        given = tree.get(ours, section)
        name = next((n for n, content in _shipped(group) if _fits(group, given, content)), None)
        if name is not None:
            found[section] = name
    return found


def _fits(group: str, given: Tree, content: Tree) -> bool:
    keys = _CHOSEN_BY[group]
    same = [tree.get(given, key) == tree.get(content, key) for key in keys]
    plate = [str(tree.get(t, "init_params.id")).rpartition("-")[0] for t in (given, content)]
    if group == "env" and all(name.startswith("PutOnPlateInScene25") for name in plate):
        return True
    return all(same) and any(tree.get(content, key) is not None for key in keys)


@cache
def _shipped(group: str) -> tuple[tuple[str, Tree], ...]:
    """Name and content of the shipped files of a group, not to be changed."""
    files = sorted((CONFIG_DIR / group).glob("*.yaml"))
    return tuple(
        (file.stem, yaml.safe_load(file.read_text(encoding="utf-8")))
        for file in files
        if file.stem not in _SHORTENED
    )


def group_content(groups: dict[str, str]) -> Tree:
    """What the chosen groups say, below their sections."""
    content: Tree = {}
    for group, section in _GROUPS:
        if section in groups:
            tree.put(content, section, deepcopy(dict(_shipped(group))[groups[section]]))
    return content


def leaves(plain: Tree, above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys that hold no section of ours, with their values."""
    for name, value in plain.items():
        key = f"{above}{name}"
        if isinstance(value, dict) and key != "cluster.component_placement":
            yield from leaves(value, f"{key}.")
        else:
            yield key, value


def render(title: Sequence[str], groups: dict[str, str], short: Tree, draft: Draft) -> str:
    """The file: what it is, groups, sections, and at its end what was left out."""
    first, *notes = title
    lines = [*_comment([first]), *_comment([f"- {note}" for note in notes], hanging="  ")]
    lines += ["", "defaults:"]
    for group, section in _GROUPS:
        if section in groups:
            lines.append(f"  - {group}@{section}: {groups[section]}")
    lines.append("  - _self_")
    for name, section in short.items():
        lines += ["", *_section(name, section, name, draft.remarks, 0)]
    return "\n".join([*lines, "", *_left_out(draft)]).rstrip() + "\n"


def _section(name: str, value: Any, key: str, remarks: dict[str, str], depth: int) -> list[str]:
    indent = "  " * depth
    remark = f"  # {remarks[key]}" if key in remarks else ""
    if isinstance(value, dict):
        lines = [f"{indent}{name}:{remark}"]
        for inner, given in value.items():
            lines += _section(inner, given, f"{key}.{inner}", remarks, depth + 1)
        return lines
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    line = f"{indent}{name}: {text.removesuffix('...' + chr(10)).strip()}"
    if len(line + remark) > _WIDTH:
        return [*_comment([remark.removeprefix("  # ")], indent), line]
    return [line + remark]


def _left_out(draft: Draft) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for key, reason in draft.left_out:
        by_reason.setdefault(reason, []).append(key)
    if not by_reason:
        return []
    lines = ["# Left out:"]
    for reason, keys in by_reason.items():
        lines += _comment([f"- {', '.join(keys)}: {reason}"], hanging="  ")
    return lines


def _comment(texts: Sequence[str], indent: str = "", hanging: str = "") -> list[str]:
    lines: list[str] = []
    for text in texts:
        lines += textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=f"{indent}# ",
            subsequent_indent=f"{indent}# {hanging}",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines
