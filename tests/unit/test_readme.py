"""The two READMEs tell the truth: the commands, the names in the code; agree, and are short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import blocks, commands, structure, without_remarks

ROOT = Path(__file__).parents[2]
BOTH = pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
LONGEST = 7 * 1024  # bytes: what a visitor reads; everything else is in the site


def text(name: str) -> str:
    return (ROOT / name).read_text()


@BOTH
def test_a_readme_is_short(name: str) -> None:
    assert len(text(name).encode()) <= LONGEST


@BOTH
def test_every_command_starts_a_script_that_exists(name: str) -> None:
    found = list(commands(text(name)))
    assert len(found) == 2
    assert all(program == "bash" and (ROOT / script).is_file() for program, script in found)


@BOTH
def test_the_nine_steps_name_files_and_functions_that_exist(name: str) -> None:
    steps = re.findall(r"^\d\. (`rlinf/\w+/.*?\.py`.*?)(?=^\d\. |^#)", text(name), re.M | re.S)
    assert len(steps) == 9
    for step in steps:
        files = [ROOT / path for path in re.findall(r"`(rlinf/[\w/]+\.py)`", step)]
        assert all(file.is_file() for file in files), step
        code = "\n".join(file.read_text() for file in files)
        for function in re.findall(r"`([\w.]+)`", step):
            for part in function.split("."):
                assert re.search(rf"(def|class) {part}\b", code), (function, step)


@BOTH
def test_every_link_and_picture_leads_somewhere(name: str) -> None:
    targets = re.findall(r"\]\(([^)]+)\)", text(name))
    assert all((ROOT / t).is_file() for t in targets if not t.startswith("https://")), targets


def test_both_languages_have_the_same_headings_tables_and_pictures() -> None:
    english, chinese = (structure(text(name)) for name in ("README.md", "README.zh-CN.md"))
    assert english == chinese


def test_both_languages_have_the_same_code_blocks_apart_from_remarks() -> None:
    english, chinese = (
        [without_remarks(block) for block in blocks(text(name))]
        for name in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese
