"""A converted configuration as YAML: short, with a remark where a line means something else."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from rlinf.config.tree import Tree
from rlinf.convert.draft import Draft

_WIDTH = 100


def leaves(plain: Tree, above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys that hold no section of ours, with their values."""
    for name, value in plain.items():
        key = f"{above}{name}"
        if isinstance(value, dict) and key != "cluster.component_placement":
            yield from leaves(value, f"{key}.")
        else:
            yield key, value


def render(title: Sequence[str], short: Tree, draft: Draft) -> str:
    """The file: what it is, its sections, and at its end what was left out."""
    first, *notes = title
    lines = [*_comment([first]), *_comment([f"- {note}" for note in notes], hanging="  ")]
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
