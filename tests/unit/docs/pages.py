"""Pages of the site as tests read them: code blocks, headings, tables, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]
TREES = {language: ROOT / "docs" / f"source-{language}" for language in ("en", "zh")}
PAGES = sorted(str(path.relative_to(TREES["en"])) for path in TREES["en"].rglob("*.md"))
EVERY_PAGE = [tree / page for tree in TREES.values() for page in PAGES]


class Block(NamedTuple):
    """A fenced block."""

    kind: str  # bash, yaml, text, {toctree} ...
    lines: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    """All fenced blocks of a page."""
    found = re.findall(r"^```(.*?)\n(.*?)^```$", text, re.M | re.S)
    return [Block(kind.strip(), tuple(content.splitlines())) for kind, content in found]


def prose(text: str) -> str:
    """A page without its fenced blocks; each leaves a line of three backquotes."""
    return re.sub(r"^```.*?\n.*?^```$", "```", text, flags=re.M | re.S)


def without_remarks(block: Block) -> list[str]:
    """The lines of a block without what is translated: comments, and captions of a table."""
    lines = (re.sub(r"(^|\s+)#( .*|$)", "", line).rstrip() for line in block.lines)
    if block.kind == "text":
        lines = map(what_is_named, lines)
    return [line for line in lines if not line.startswith(":caption:")]


def what_is_named(line: str) -> str:
    """A line without the remark that two spaces set apart."""
    return re.match(r"\s*\S*(?: \S+)*", line)[0]


def structure(text: str) -> list[str]:
    """What both languages have in common: levels of headings, rows of tables, lists, pictures."""
    marks = r"^(#+ |\|.*\||```|:::.*|!\[.*?\]\(.*\)| *\d+\. | *- )"
    return [
        "|" * len(re.findall(r"(?<!\\)\|", mark)) if mark.startswith("|") else picture(mark)
        for mark in re.findall(marks, prose(text), re.M)
    ]


def picture(mark: str) -> str:
    """A picture without its alternative text; a drawing with words is one for each language."""
    return re.sub(r"-(en|zh)(?=\.\w+\)$)", "", re.sub(r"!\[.*?\]", "!", mark))


def commands(text: str) -> Iterator[list[str]]:
    """The words of every command in the bash blocks of a page."""
    for block in blocks(text):
        if block.kind == "bash":
            joined = "\n".join(block.lines).replace("\\\n", " ")
            for line in joined.splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    yield words
