"""The newest evaluation of a run, trial by trial: of a result file, or while it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST = 1000  # trials that a page lists, failures first


class TrialReader:
    """Reads the files of a run's evaluations, each again only where it has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "eval"
        self._known: tuple[object, dict[str, Any] | None] = (None, None)

    def view(self) -> dict[str, Any] | None:
        """Counts and trials, failures first; of a running evaluation the counts; None of none."""
        results = _by_age(self.folder, "step_*.json")
        parts = _by_age(self.folder / "episodes", "*.jsonl")
        running = bool(parts) and (not results or parts[-1][0] > results[-1][0])
        files = parts if running else results[-1:]
        if files != self._known[0]:
            found = [trial for _, path in files for trial in _trials(path, running)]
            self._known = files, _summary(found, running)
        return self._known[1]


def _by_age(folder: Path, pattern: str) -> list[tuple[tuple[int, int], Path]]:
    """Files that match, with when they changed and their size; the newest last."""
    found = []
    for path in folder.glob(pattern):
        try:
            status = path.stat()
        except OSError:
            continue
        found.append(((status.st_mtime_ns, status.st_size), path))
    return sorted(found)


def _trials(path: Path, running: bool) -> Iterator[dict[str, Any]]:
    """Those that a file holds; a line or file that is cut off, or none of ours, holds none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        if running:
            entries = [_parsed(line) for line in text.splitlines()]
        else:
            entries = json.loads(text)["episodes"]
        for entry in entries:
            if isinstance(entry, dict):
                yield {
                    "task": entry["start"][0] if running else entry["task"],
                    "trial": entry["start"][1] if running else entry["trial"],
                    "repeat": entry["repeat"],
                    "success": bool(entry["success_once"]),
                    "steps": entry["length"],
                    "video": entry.get("video"),
                }
    except (OSError, ValueError, LookupError, TypeError):
        return


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:  # it is being written
        return None


def _summary(found: list[dict[str, Any]], running: bool) -> dict[str, Any] | None:
    if not found:
        return None
    solved = sum(trial["success"] for trial in found)
    shown = [] if running else sorted(found, key=lambda trial: trial["success"])[:MOST]
    return {"running": running, "done": len(found), "solved": solved, "trials": shown}
