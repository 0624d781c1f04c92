"""Directives that write the reference from the code: configuration keys, metrics, the command line.

```{config-keys} runner          the keys of a section, without those of sections inside it
```{simulator-keys}              `init_params` of every simulator
```{model-keys}                  `actor.model` of every model
```{metrics} train               the metrics whose names begin so
```{command-help} train          what `rlinf train --help` prints
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import yaml
from docutils import nodes
from pydantic import BaseModel
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from rlinf.cli.parser import make_parser
from rlinf.config.base import ModelConfig
from rlinf.config.schema import Config, GroupPlacement, NodeEnvironment, NodeGroup
from rlinf.config.simulator import SimulatorParams
from rlinf.config.validate import sections_in
from rlinf.metrics.names import METRICS
from rlinf.registry import imported, models, simulators

if TYPE_CHECKING:
    from sphinx.application import Sphinx

logger = logging.getLogger(__name__)

CHINESE = Path(__file__).parent / "source-zh" / "texts.yaml"
"""What the code says about keys and metrics -> the same in Chinese."""

HEADS = {
    "en": {
        "keys": ("key", "value", "default", "meaning"),
        "metrics": ("metric", "meaning", "parts become one number as", "also written as"),
        "one of": "one of",
        "none": "none",
        "required": "required",
    },
    "zh": {
        "keys": ("键", "取值", "默认值", "含义"),
        "metrics": ("指标", "含义", "各部分合并为一个数的方式", "另一写法"),
        "one of": "其一",
        "none": "无",
        "required": "必填",
    },
}


class Row(NamedTuple):
    """One configuration key."""

    key: str
    value: str  # its type and range, in words of JSON schema
    default: str | None  # as YAML; None where a value has to be given
    meaning: str


IN_LISTS: dict[str, type[BaseModel]] = {
    "cluster.node_groups[]": NodeGroup,
    "cluster.node_groups[].env_configs[]": NodeEnvironment,
    "cluster.component_placement.COMPONENT": GroupPlacement,
}
"""Sections that stand in a list or a map."""


def sections() -> dict[str, type[BaseModel]]:
    """Dotted name of every section that is the same for all models and simulators -> its class."""
    found = dict(IN_LISTS)
    found.update(
        (name, section)
        for name, section in _inner(Config, "")
        if not {"model", "init_params"} & set(name.split(".")) or name == "rollout.model"
    )
    return {**found, "actor.model": ModelConfig}


def _inner(section: type[BaseModel], above: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Sections inside a section, at any depth; of several that a key may hold the first one."""
    for name, field in section.model_fields.items():
        for inner in islice(sections_in(field.annotation), 1):
            yield f"{above}{name}", inner
            yield from _inner(inner, f"{above}{name}.")


def rows_below(section: type[BaseModel], above: str, told: type[BaseModel]) -> list[Row]:
    """The keys of a section and of all sections inside it, but for those of its base class."""
    inner = [row for name, part in _inner(section, f"{above}.") for row in rows(part, name)]
    return rows(section, above, told) + inner


def rows(section: type[BaseModel], above: str, told: type[BaseModel] | None = None) -> list[Row]:
    """The keys of a section itself.

    Args:
        above: dotted name of the section.
        told: a base class whose keys have a table of their own.
    """
    schema = section.model_json_schema()
    elsewhere = told.model_fields if told is not None else {}
    return [
        _row(f"{above}.{name}".lstrip("."), field, schema)
        for name, field in schema["properties"].items()
        if name not in elsewhere and not _is_section(field, schema)
    ]


def _row(key: str, field: dict[str, Any], schema: dict[str, Any]) -> Row:
    default = None
    if "default" in field:
        default = json.dumps(field["default"])
    return Row(key, _value(field, schema), default, " ".join(field.get("description", "").split()))


def _is_section(field: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Whether a key holds a section, whose keys have rows of their own."""
    kinds = [field, *field.get("anyOf", ()), *field.get("oneOf", ())]
    return any("properties" in _resolved(kind, schema) for kind in kinds)


def _resolved(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    reference = field.get("$ref", "")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else field


def _value(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """Type and range in the words of JSON schema."""
    field = _resolved(field, schema)
    if "anyOf" in field or "oneOf" in field:
        parts = [_value(kind, schema) for kind in field.get("anyOf", field.get("oneOf", ()))]
        return " or ".join(dict.fromkeys(parts))
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    kind = str(field.get("type", "any"))
    if kind == "array":
        inner = field.get("items") or {"anyOf": field.get("prefixItems", [])}
        return f"list of {_value(inner, schema)}" if inner != {"anyOf": []} else "list"
    if kind == "object":
        return "map" if "properties" not in field else field.get("title", "map")
    signs = (
        ("minimum", "≥"),
        ("exclusiveMinimum", ">"),
        ("maximum", "≤"),
        ("exclusiveMaximum", "<"),
    )
    limits = [f"{sign} {field[name]:g}" for name, sign in signs if name in field]
    return " ".join([kind, *([", ".join(limits)] if limits else [])])


def all_rows() -> list[Row]:
    """Every row of the page of configuration keys."""
    found = [row for name, section in sections().items() for row in rows(section, name)]
    for spec in models().values():
        found += rows_below(imported(spec.settings), "actor.model", ModelConfig)
    for other in simulators().values():
        found += rows_below(imported(other.settings), "init_params", SimulatorParams)
    return found


def texts() -> set[str]:
    """What the code says, in English, of all keys and metrics."""
    return {row.meaning for row in all_rows()} | {metric.meaning for metric in METRICS}


@cache
def chinese() -> dict[str, str]:
    """What of it there is in Chinese."""
    found: dict[str, str] = yaml.safe_load(CHINESE.read_text())
    return found


def escaped(text: str) -> str:
    """A sentence of the code in a cell of a Markdown table."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(p if p.startswith("`") else re.sub(r"([*_<\[])", r"\\\1", p) for p in parts)


def table(head: tuple[str, ...], body: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Generated(SphinxDirective):
    """A directive whose content comes from the code."""

    optional_arguments = 1

    @property
    def words(self) -> dict[str, Any]:
        """The words of the page's language."""
        return HEADS[self.config.language[:2]]

    def say(self, text: str) -> str:
        """A sentence of the code in the page's language, ready for a table."""
        if self.config.language[:2] == "zh" and text:
            if text not in chinese():
                logger.warning("no Chinese for: %s", text, location=self.get_location())
            text = chinese().get(text, text)
        return escaped(text)

    def key_table(self, found: list[Row]) -> str:
        """The table of some keys."""
        if not found:
            return self.words["none"]
        body = [
            (
                f"`{row.key}`",
                row.value.replace("|", "\\|"),
                self.words["required"] if row.default is None else f"`{row.default}`",
                self.say(row.meaning),
            )
            for row in found
        ]
        return table(self.words["keys"], body)

    def written(self) -> str:
        """The content as Markdown."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parses the content."""
        return self.parse_text_to_nodes(self.written())


class ConfigKeys(Generated):
    """The keys of one section."""

    def written(self) -> str:
        name = self.arguments[0]
        return self.key_table(rows(sections()[name], name))


class ModelKeys(Generated):
    """What `actor.model` of each model has beside the common keys."""

    def written(self) -> str:
        parts = []
        for name, spec in sorted(models().items()):
            found = rows_below(imported(spec.settings), "actor.model", ModelConfig)
            parts.append(f":::{{rubric}} `{name}`\n:::\n\n{self.key_table(found)}")
        return "\n\n".join(parts)


class SimulatorKeys(Generated):
    """What `init_params` of each simulator has."""

    def written(self) -> str:
        parts = []
        for name, spec in sorted(simulators().items()):
            found = rows_below(imported(spec.settings), "init_params", SimulatorParams)
            parts.append(f":::{{rubric}} `{name}`\n:::\n\n{self.key_table(found)}")
        return "\n\n".join(parts)


class Metrics(Generated):
    """The metrics of one area."""

    def written(self) -> str:
        area = self.arguments[0] + "/"
        body = [
            (
                f"`{metric.name}`",
                self.say(metric.meaning),
                metric.reduction,
                ", ".join(f"`{alias}`" for alias in metric.aliases),
            )
            for metric in METRICS
            if metric.name.startswith(area)
        ]
        return table(self.words["metrics"], body)


class CommandHelp(Generated):
    """What a subcommand prints with --help."""

    def written(self) -> str:
        return f"```text\n{help_of(self.arguments[0].split())}```"

    optional_arguments = 0
    required_arguments = 1
    final_argument_whitespace = True


def help_of(words: list[str]) -> str:
    """The help of a subcommand, such as `assets download`."""
    parser: argparse.ArgumentParser = make_parser()
    for word in words:
        parser = subcommands(parser)[word]
    with mock.patch.dict(os.environ, COLUMNS="90"):
        return parser.format_help()


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name -> parser of the next level."""
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def setup(app: Sphinx) -> dict[str, bool]:
    """Makes the directives known."""
    app.add_directive("config-keys", ConfigKeys)
    app.add_directive("model-keys", ModelKeys)
    app.add_directive("simulator-keys", SimulatorKeys)
    app.add_directive("metrics", Metrics)
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
