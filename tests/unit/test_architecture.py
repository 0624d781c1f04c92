"""The line of the README that says which folder may import which, and that it is true."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "rlinf"
LINE = re.compile(r"`(errors, [^`]* <- [^`]*cli)`")
BELOW = {
    "control_groups",
    "devices",
    "installer",
    "registry",
    "safe_path",
    "signals",
    "streams",
    "wording",
}
VERSION = {"__init__", "__version__"}
"""Modules beside the folders: they import `errors` at most, and every folder may use them."""
BESIDE = {
    "assets": "data",
    "convert": "envs",
    "logging": "metrics",
    "results": "config",
    "selftest": "runners",
    "serving": "runners",
    "tuning": "runners",
}
"""Folders beside the line -> the one whose place they have."""


def tiers(page: str) -> list[set[str]]:
    """The folders of each step of the line, the lowest first."""
    (line,) = LINE.findall((ROOT / page).read_text())
    return [set(step.split(", ")) for step in line.split(" <- ")]


def imports() -> Iterator[tuple[str, str, Path]]:
    """Every import of one part of the package in another, wherever it stands in the file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            for name in _named(node):
                there = name.split(".")[1] if "." in name else "__init__"
                if name.split(".")[0] == "ray":
                    yield here, "ray", path
                elif name.split(".")[0] == "rlinf" and there != here:
                    yield here, there, path


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        inside = [f"rlinf.{alias.name}" for alias in node.names] if node.module == "rlinf" else []
        return inside or [node.module]
    return []


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md"])
def test_imports_point_one_way(page: str):
    steps = tiers(page)
    level = {name: index for index, step in enumerate(steps) for name in step}
    level |= {name: level[place] for name, place in BESIDE.items()} | {"cluster": level["workers"]}
    level |= dict.fromkeys(BELOW | VERSION, 0)
    wrong = [
        f"{path.relative_to(ROOT)} imports {there}"
        for here, there, path in imports()
        if there != "ray" and level[there] > level[here]
    ]
    assert not wrong
    assert (
        not {path.stem for path in PACKAGE.iterdir() if path.name[0] != "_"} - set(level) - {"py"}
    )


def test_no_two_folders_import_each_other():
    pairs = {(here, there) for here, there, _ in imports() if here not in BELOW}
    assert not [(a, b) for a, b in pairs if a < b and (b, a) in pairs]


def test_only_the_cluster_imports_ray_and_only_runners_and_the_command_import_the_cluster():
    found = list(imports())
    assert {here for here, there, _ in found if there == "ray"} == {"cluster"}
    assert {here for here, there, _ in found if there == "cluster"} <= {"runners", "cli"}


def test_a_class_has_its_name_to_itself():
    defined = Counter(
        name
        for path in PACKAGE.rglob("*.py")
        for node in ast.parse(path.read_text()).body
        for name in _defined(node)
        if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name)  # classes and aliases; constants are capitals
    )
    assert not [name for name, times in defined.items() if times > 1]


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []
