"""The finished episodes of a running evaluation, one line each, so that it can be continued.

Every worker appends to a file of its own. A line that was cut off when a machine went down is an
episode that is run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from rlinf.data.disk import refusals_told
from rlinf.data.types import EpisodeResult, Start


class Journal:
    """One writer's file.

    Args:
        path: its name; folders are made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        if path.is_file() and not path.read_bytes().endswith(b"\n"):
            with path.open("a") as file:
                file.write("\n")  # what follows begins a line of its own

    def append(self, episodes: Iterable[EpisodeResult]) -> None:
        """Keeps episodes of an evaluation."""
        lines = [json.dumps(asdict(episode)) + "\n" for episode in episodes]
        if not lines:
            return
        again = "make room there; runner.resume_dir=auto goes on from the episodes that are kept"
        with refusals_told("finished episodes", self._path, again), self._path.open("a") as file:
            file.write("".join(lines))


def read(folder: Path) -> list[EpisodeResult]:
    """All episodes in a folder's files, each (repeat, start) once."""
    found: dict[tuple[int, Start], EpisodeResult] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # cut off
                continue
            start = Start(*entry.pop("start"))
            found[entry["repeat"], start] = EpisodeResult(start=start, **entry)
    return list(found.values())
