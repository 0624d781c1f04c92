"""Who did what when: spans of work and of waiting, a picture of them, and how idle each part was.

A worker notes its spans; the launcher collects them once per iteration. `trace.json` opens in
Perfetto (ui.perfetto.dev) and in Chrome (chrome://tracing); `timeline.json` has the spans of the
last iteration alone, for the page of a run.
"""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

_log = logging.getLogger(__name__)

LATEST = "timeline.json"
MOST_SPANS = 20_000  # of the file; the longest are kept


class Span(NamedTuple):
    """Something that took a while."""

    worker: str  # such as `env0`
    lane: str  # within the worker, such as `stage1`; spans of a lane do not overlap
    name: str
    began: float  # seconds since the epoch, by the clock of the worker's machine
    ended: float
    busy: bool  # work; False: waiting for another process


class Spans:
    """The spans of one worker, since they were last taken. Threads may add at the same time."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._spans: list[Span] = []

    @contextmanager
    def span(self, name: str, lane: str = "", busy: bool = True) -> Iterator[None]:
        """Notes what is done inside."""
        began = time.time()
        try:
            yield
        finally:
            self._spans.append(Span(self._worker, lane, name, began, time.time(), busy))

    def take(self) -> list[Span]:
        """The spans so far; the next call begins after them."""
        spans, self._spans = self._spans, []
        return spans


def idle_fractions(spans: Sequence[Span], began: float, ended: float) -> dict[str, float]:
    """Share of the time from `began` to `ended` in which the workers of a component did no work.

    A worker is idle while none of its lanes works; a component's share is the mean over its
    workers. Where workers share a core or an accelerator, one's work is another's idle time.

    Returns:
        By component: the worker's name without its number.
    """
    intervals: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for span in spans:
        if span.busy:
            intervals[span.worker].append((max(span.began, began), min(span.ended, ended)))
    shares: defaultdict[str, list[float]] = defaultdict(list)
    for worker, busy in intervals.items():
        shares[worker.rstrip("0123456789")].append(1.0 - _covered(busy) / (ended - began))
    return {component: sum(idle) / len(idle) for component, idle in shares.items()}


def _covered(intervals: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals; those that end before they begin are empty."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


class Trace:
    """`trace.json` of a run: the first iterations, in Chrome's trace event format.

    The file is an array that is never closed, which the format allows: an iteration is appended
    without reading what is there, and a run that is killed leaves a trace that opens.
    """

    def __init__(self, path: Path, steps: int) -> None:
        """
        Args:
            steps: iterations to write, from the first on; -1 for all.
        """
        self._path, self._left = path, steps
        self._rows: dict[tuple[str, str], tuple[int, int]] = {}  # process and thread of a lane

    def write(self, step: int, spans: Sequence[Span]) -> None:
        """Appends the spans of iteration `step`."""
        if self._left == 0:
            return
        self._left -= self._left > 0
        events: list[dict[str, Any]] = []
        for span in sorted(spans, key=lambda span: span.began):
            process, thread = self._row(span, events)
            events.append(
                {
                    "name": span.name,
                    "cat": "work" if span.busy else "wait",
                    "ph": "X",
                    "ts": round(span.began * 1e6),
                    "dur": round((span.ended - span.began) * 1e6),
                    "pid": process,
                    "tid": thread,
                    "args": {"step": step},
                    **({} if span.busy else {"cname": "grey"}),
                }
            )
        try:
            fresh = not self._path.exists()
            with self._path.open("a") as file:
                file.write("[\n" if fresh else "")
                file.writelines(json.dumps(event) + ",\n" for event in events)
        except OSError as error:
            _log.warning("%s is given up: %s", self._path, error)
            self._left = 0

    def _row(self, span: Span, events: list[dict[str, Any]]) -> tuple[int, int]:
        """Numbers of the lane's process and thread; names them when they are new."""
        key = (span.worker, span.lane)
        if key not in self._rows:
            known = {worker: process for (worker, _), (process, _) in self._rows.items()}
            process = known.get(span.worker, len(known) + 1)
            self._rows[key] = (process, len(self._rows) + 1)
            for kind, name in (("process_name", span.worker), ("thread_name", span.lane)):
                thread = self._rows[key][1]
                events.append(
                    {"name": kind, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
                )
        return self._rows[key]


def write_latest(path: Path, step: int, spans: Sequence[Span]) -> None:
    """Replaces the file by the spans of iteration `step`; what a disk refuses costs the picture."""
    kept = sorted(spans, key=lambda span: span.began - span.ended)[:MOST_SPANS]
    building = path.with_name(f".{path.name}.tmp")
    try:
        building.write_text(json.dumps({"step": step, "spans": kept}) + "\n")
        building.replace(path)
    except OSError as error:
        _log.debug("no %s: %s", path, error)
        with suppress(OSError):
            building.unlink()


def read_latest(path: Path) -> tuple[int, list[Span]] | None:
    """Iteration and spans of what `write_latest` wrote; None if there is none, or it is damaged."""
    try:
        content = json.loads(path.read_text())
        return int(content["step"]), [Span(*span) for span in content["spans"]]
    except (OSError, ValueError, LookupError, TypeError):
        return None
