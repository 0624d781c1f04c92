"""The page about a run: `rlinf watch` serves it, and `report.html` is the same page frozen.

It is one file without anything from outside: template, style and script lie in `page/`, with the
charting library uPlot.
"""

from __future__ import annotations

import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from rlinf.logging.files import write_atomically
from rlinf.logging.run_reader import RunReader

PAGE = Path(__file__).parent / "page"
SLOTS = {
    "STYLE": ("uPlot.min.css", "page.css"),
    "LICENSE": ("uPlot.LICENSE",),
}
"""What the template takes from which files."""


@cache
def scripts() -> tuple[str, ...]:
    """The texts of the page's scripts, in order."""
    return tuple(part(name) for name in ("uPlot.iife.min.js", "page.js"))


@cache
def part(name: str) -> str:
    """The text of a file in `page/`."""
    return (PAGE / name).read_text(encoding="utf-8")


def page(frozen: dict[str, Any] | None, title: str = "RLinf") -> str:
    """The page as text.

    Args:
        frozen: the run that it shows, as `RunReader.view` gives it; None for a page that asks the
            server.
        title: of the window.
    """
    parts = {slot: "\n".join(map(part, names)) for slot, names in SLOTS.items()}
    parts["TITLE"] = escape(title)
    # No text of a run can end the element it stands in.
    parts["DATA"] = json.dumps(frozen).replace("<", "\\u003c")
    parts["SCRIPTS"] = "".join(f"<script>{text}</script>\n" for text in scripts())
    pieces = part("page.html").split("@@")
    return "".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces))


def write_report(path: Path, title: str) -> None:
    """Writes the page of the run whose folder `path` is in, or replaces it in one step.

    Args:
        path: of the page.
        title: name of the run.
    """
    reader = RunReader(path.parent)
    while reader.look():
        pass
    view = {**reader.view(), "name": title, "writing": False, "finished": True}
    write_atomically(path, page(view, title).encode("utf-8", "replace"))
