"""Every package that is imported is declared, so that a fresh environment has it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILES = sorted((ROOT / "rlinf").rglob("*.py"))

DISTRIBUTIONS = {
    "hydra": "hydra-core",
    "isaaclab_newton": "isaaclab",
    "isaaclab_tasks": "isaaclab",
    "libero": "hf-libero",
    "OpenGL": "pyopengl",
    "PIL": "pillow",
    "yaml": "pyyaml",
}
"""Import name -> distribution, where they differ by more than `_` and `-`."""

EXTRAS = {
    "envs/libero/": ("libero",),
    "envs/maniskill/": ("maniskill",),
    "logging/upload_process.py": ("swanlab", "wandb"),
    "models/adapted.py": ("openvla",),
    "models/adapters.py": ("gr00t",),
    "models/gr00t/": ("gr00t",),
    "models/download.py": ("modelscope",),
    "models/prismatic/": ("openvla",),
    "serving/": ("serve",),
}
"""Parts of the package that are used only where an extra is installed; all else needs none."""

OWN_PYTHONS = {
    "envs/behavior/": ("behavior",),
    "envs/isaaclab/": ("isaaclab", "mjlab"),
}
"""Parts that run under the Python of a simulator -> `requirements/NAME.txt`, which it has."""

WITHOUT_PINS = {"omnigibson"}
"""Imported where its Python has it, and on no package index in the version that is needed."""


def pinned(name: str) -> set[str]:
    """Distributions of a simulator's own Python."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {normal(found) for found in re.findall(r"^([\w.-]+)==", text, re.M)}


def declared(*extras: str) -> set[str]:
    """Distributions that an installation with these extras has."""
    lines = [*PROJECT["dependencies"]]
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return {normal(re.split(r"[<>=~! \[;]", line)[0]) for line in lines}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def imports(source: str) -> Iterator[str]:
    """Distributions that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            if top != "rlinf" and top not in sys.stdlib_module_names:
                yield normal(DISTRIBUTIONS.get(top, top))


def undeclared(path: Path) -> set[str]:
    place = path.relative_to(ROOT / "rlinf").as_posix()
    extras = [
        extra for start, names in EXTRAS.items() if place.startswith(start) for extra in names
    ]
    theirs = [
        pinned(name)
        for start, names in OWN_PYTHONS.items()
        if place.startswith(start)
        for name in names
    ]
    return set(imports(path.read_text())) - declared(*extras).union(WITHOUT_PINS, *theirs)


def test_every_import_is_declared_for_all_who_may_come_to_it() -> None:
    found = {str(path): names for path in FILES if (names := undeclared(path))}
    assert found == {}


@pytest.mark.parametrize("start", EXTRAS)
def test_the_list_of_conditional_parts_is_true(start: str) -> None:
    """Each part exists and uses its extra."""
    paths = [p for p in FILES if p.relative_to(ROOT / "rlinf").as_posix().startswith(start)]
    used = {name for path in paths for name in imports(path.read_text())}
    for extra in EXTRAS[start]:
        assert used & (declared(extra) - declared())


def test_an_import_is_found_wherever_it_stands() -> None:
    source = "import os\ndef f():\n    from httpx import get\n    import PIL.Image, rlinf.cli\n"
    assert set(imports(source)) == {"httpx", "pillow"}
