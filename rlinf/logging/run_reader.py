"""What a page shows of a run, read from the run's folder while the run goes on.

A file that grows is read from where the last look ended; what has been read stays small, see
`curves.py`. Nothing here writes into a run's folder.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rlinf.logging.bottleneck import RECENT, bottleneck
from rlinf.logging.curves import Curves, rounded
from rlinf.logging.trials import TrialReader
from rlinf.logging.writers import METRICS_FILE, parse_record
from rlinf.metrics.names import lookup
from rlinf.metrics.results import wilson
from rlinf.metrics.timeline import LATEST, read_latest

CONFIG_FILE, PLAN_FILE, LOG_FILE = "config.yaml", "plan.txt", "run.log"
RECORD_FILE, REPORT_FILE = "run.json", "report.html"
TRAINING, EVALUATION = "env/success_once", "eval/success_once"
BYTES_AT_ONCE = 8 << 20  # of a file, for one look; a first look at a long run takes several
LAST_STEP = 10**9  # beyond it a line is damaged
LINES_KEPT = 200  # warnings and errors
LANES_SHOWN, SPANS_SHOWN = 64, 400  # of a timeline; spans in one lane
_FAULT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ (WARNING|ERROR|CRITICAL) \S+?: (.*)")
_SUCCESSES, _EPISODES = "successes", "episodes"


class Tail:
    """The lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.behind = False  # the last look left something
        self._offset, self._file = 0, 0  # where it ended, and in which file (inode)

    def look(self) -> tuple[bool, list[bytes]]:
        """Whether the file is another one, or begins anew, and its new whole lines."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                anew = status.st_ino != self._file or status.st_size < self._offset
                if anew:
                    self._file, self._offset = status.st_ino, 0
                file.seek(self._offset)
                content = file.read(BYTES_AT_ONCE)
        except FileNotFoundError:
            anew, self._file, self._offset = self._file != 0, 0, 0
            self.behind = False
            return anew, []
        end = content.rfind(b"\n") + 1
        if not end and len(content) == BYTES_AT_ONCE:  # a line too long to be one of ours
            end = len(content)
        self._offset += end
        self.behind = len(content) == BYTES_AT_ONCE
        return anew, content[:end].splitlines(keepends=True)


class Position(NamedTuple):
    """How much of a run a reader has: the answer to it begins there."""

    generation: int  # a run that goes on from an older checkpoint begins another
    width: int
    bucket: int

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """Of `generation.width.bucket`; None if it is anything else."""
        numbers = re.fullmatch(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", text)
        return cls(*map(int, numbers.groups())) if numbers else None

    def __str__(self) -> str:
        return ".".join(map(str, self))


class RunReader:
    """One run.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._metrics, self._log = Tail(folder / METRICS_FILE), Tail(folder / LOG_FILE)
        self._trials = TrialReader(folder)
        self._generation = 0
        self._forget()
        self._faults: deque[dict[str, str]] = deque(maxlen=LINES_KEPT)

    def _forget(self) -> None:
        self._generation += 1
        self._curves = Curves()
        self._evaluations: list[dict[str, Any]] = []
        self._recent: deque[dict[str, Any]] = deque(maxlen=3 * RECENT)
        self._latest: dict[str, float] = {}

    def look(self) -> bool:
        """Reads what is new; whether there is still more."""
        anew, lines = self._metrics.look()
        if anew:
            self._forget()
        for record in filter(None, map(parse_record, lines)):
            self._take(record)
        anew, lines = self._log.look()
        if anew:
            self._faults.clear()
        for line in lines:
            if found := _FAULT.match(line.decode(errors="replace")):
                time, level, text = found.groups()
                self._faults.append({"time": time, "level": level.lower(), "text": text[:2000]})
        return self._metrics.behind or self._log.behind

    def _take(self, record: Mapping[str, Any]) -> None:
        step, values = record["step"], values_of(record)
        if not isinstance(step, int) or not 0 <= step <= LAST_STEP:
            return
        for name, value in values.items():
            self._curves.add(step, name, value)
            if value is not None:
                self._latest[name] = value
        success, episodes = values.get(TRAINING), values.get("env/num_episodes")
        if success is not None and 0 <= success <= 1 and episodes is not None and episodes > 0:
            self._curves.add(step, _SUCCESSES, success * episodes)
            self._curves.add(step, _EPISODES, episodes)
        if values.get(EVALUATION) is not None:
            self._evaluations.append(
                {
                    "step": step,
                    "success": values[EVALUATION],
                    "low": values.get(f"{EVALUATION}_low"),
                    "high": values.get(f"{EVALUATION}_high"),
                    "episodes": values.get("eval/num_episodes"),
                }
            )
        if "time/step" in values:
            self._recent.append(values)

    def view(self, since: Position | None = None) -> dict[str, Any]:
        """All that the page shows, in JSON types.

        Args:
            since: what the reader has already; it gets the rest, and configuration and plan only
                with the first answer.
        """
        curves, width = self._curves, self._curves.width
        known = since is not None and since[:2] == (self._generation, width)
        first = since.bucket if known and since is not None else 0
        names = [name for name in curves if name not in (_SUCCESSES, _EPISODES)]
        config = self._config()
        limit = bottleneck(list(self._recent), config)
        return {
            "position": str(Position(self._generation, width, curves.last // width)),
            "whole": not known,
            "from": first,
            "width": width,
            "behind": self._metrics.behind or self._log.behind,
            **summary(self.folder, config),
            "step": curves.last,
            "latest": {name: rounded(value) for name, value in self._latest.items()},
            "curves": {n: points for n in names if (points := curves.points(n, first))},
            "training": self._training(first),
            "evaluations": self._thinned_evaluations(),
            "limit": asdict(limit) if limit else None,
            "timeline": timeline(self.folder / LATEST),
            "videos": videos(self.folder),
            "trials": self._trials.view(),
            "faults": {"counts": self._fault_counts(names), "lines": list(self._faults)[::-1]},
            **({} if known else self._constant(config)),
            "meanings": {n: row.meaning for n in names if not known and (row := lookup(n))},
        }

    def _training(self, first: int) -> list[list[float]]:
        """Success in training, `[step, share, low, high, episodes]`, with its Wilson interval."""
        episodes = dict(self._curves.buckets(_EPISODES, first))
        rows = []
        for index, bucket in self._curves.buckets(_SUCCESSES, first):
            n, successes = episodes[index].total, bucket.total
            ends = wilson(round(successes), round(n))
            step = bucket.steps / bucket.records
            rows.append([rounded(x) for x in (step, successes / n, *ends, n)])
        return rows

    def _thinned_evaluations(self) -> list[dict[str, Any]]:
        """The last one of each bucket, so that intervals stay those of single evaluations."""
        by_bucket = {e["step"] // self._curves.width: e for e in self._evaluations}
        shown = list(by_bucket.values())
        first = self._evaluations[:1]
        return shown if not first or shown[0] is first[0] else [*first, *shown]

    def _fault_counts(self, names: list[str]) -> dict[str, float]:
        totals = {
            name.removeprefix("faults/"): sum(b.total for _, b in self._curves.buckets(name))
            for name in names
            if name.startswith("faults/")
        }
        return {name: total for name, total in totals.items() if total}

    def _config(self) -> dict[str, object]:
        return flat(read_config(self.folder / CONFIG_FILE))

    def _constant(self, config: Mapping[str, object]) -> dict[str, Any]:
        plan = self.folder / PLAN_FILE
        text = plan.read_text(errors="replace") if plan.is_file() else ""
        return {"config": dict(config), "plan": text}


def summary(folder: Path, config: Mapping[str, object]) -> dict[str, Any]:
    """Name, length and state of a run.

    `writing` says whether a process of this machine holds the run's lock; None where that is
    not known.
    """
    metrics, report = folder / METRICS_FILE, folder / REPORT_FILE
    written = _modified(metrics)
    limits = [config.get(f"runner.{name}") for name in ("max_steps", "max_epochs")]
    counts = [limit for limit in limits if isinstance(limit, int) and limit > 0]
    evaluates = config.get("runner.only_eval") is True
    return {
        "name": folder.name,
        "folder": str(folder),
        "began": _began(folder),
        "written": max(filter(None, (written, _modified(folder / LOG_FILE))), default=None),
        "total": min(counts) if counts and not evaluates else None,
        "writing": is_locked(folder / ".lock"),
        "finished": report.is_file() and (_modified(report) or 0) >= (written or 0),
        "task": config.get("env.train.init_params.id") or config.get("env.train.simulator_type"),
        "model": config.get("actor.model.model_type"),
    }


def is_locked(lock: Path) -> bool | None:
    """Whether a process of this machine holds a run's lock, without taking it.

    A lock that is taken to find out would keep a run from starting in that moment.
    """
    try:
        inode = lock.stat().st_ino
        held = Path("/proc/locks").read_text()
    except OSError:
        return None
    return any(re.search(rf":{inode} ", line) for line in held.splitlines() if "FLOCK" in line)


def timeline(path: Path) -> dict[str, Any] | None:
    """What each process did in the last iteration; short neighbours of one kind are one span."""
    latest = read_latest(path)
    if latest is None or not latest[1]:
        return None
    step, spans = latest
    began, ended = min(s.began for s in spans), max(s.ended for s in spans)
    least = (ended - began) / SPANS_SHOWN
    lanes: dict[tuple[str, str], list[list[Any]]] = {}
    for span in sorted(spans, key=lambda span: (span.worker, span.lane, span.began)):
        lane = lanes.setdefault((span.worker, span.lane), [])
        row: list[Any] = [span.began - began, span.ended - began, span.name, span.busy]
        same = lane and lane[-1][3] == span.busy and row[0] - lane[-1][1] < least
        if same and (lane[-1][2] == span.name or row[1] - row[0] < least):
            lane[-1][1] = max(lane[-1][1], row[1])
        else:
            lane.append(row)
    shown = [
        {
            "worker": worker,
            "lane": lane,
            "spans": [[round(b, 4), round(e, 4), n, busy] for b, e, n, busy in rows],
        }
        for (worker, lane), rows in list(lanes.items())[:LANES_SHOWN]
    ]
    hidden = max(0, len(lanes) - LANES_SHOWN)
    return {"step": step, "seconds": round(ended - began, 4), "lanes": shown, "hidden": hidden}


def videos(folder: Path) -> list[dict[str, Any]]:
    """The newest videos in the run's folder, those with the most failures first."""
    found: list[dict[str, Any]] = []
    for path in video_files(folder)[:24]:
        episodes = _episodes_of(path)
        failed = sum(not e["success"] for e in episodes)
        found.append(
            {
                "path": path.relative_to(folder).as_posix(),
                "written": _modified(path),
                "episodes": episodes,
                "failed": failed,
            }
        )
    found.sort(key=lambda video: video["written"] or 0.0, reverse=True)
    return sorted(found, key=lambda video: video["failed"], reverse=True)


def video_files(folder: Path) -> list[Path]:
    """All videos in the run's folder, the newest first; links that lead out of it are left out."""
    inside = folder.resolve()
    paths = [
        path
        for path in (folder / "video").glob("**/*.mp4")
        if not path.name.startswith(".") and path.resolve().is_relative_to(inside)
    ]
    return sorted(paths, key=lambda path: (_modified(path) or 0, path.name), reverse=True)


def _episodes_of(video: Path) -> list[dict[str, Any]]:
    """The episodes a video shows, as the file beside it says; none without it."""
    try:
        rows = json.loads(video.with_suffix(".json").read_text())["episodes"]
        return [
            {"env": int(r["env"]), "success": bool(r["success"]), "task": str(r["instruction"])}
            for r in rows
            if r["ended"]  # how the others end is not known
        ]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def read_config(path: Path) -> Any:
    """The configuration of a run; nothing where there is none, or it is damaged."""
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None


def flat(tree: object, prefix: str = "") -> dict[str, object]:
    """Values by dotted key; a list is a value."""
    if not isinstance(tree, dict):
        return {prefix[:-1]: tree} if prefix else {}
    return dict(_leaves(tree, prefix))


def _leaves(tree: Mapping[Any, object], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def values_of(record: Mapping[str, Any]) -> dict[str, float | None]:
    """The metrics of a line; None for one that is not finite, which JSON has no number for."""
    return {name: _finite(value) for name, value in record.items() if _is_value(name, value)}


def _is_value(name: str, value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return name != "step" and (value is None or number)


def _finite(value: float | None) -> float | None:
    try:
        return value if value is not None and math.isfinite(value) else None
    except OverflowError:  # an integer that no float holds
        return None


def _began(folder: Path) -> float | None:
    try:
        return float(json.loads((folder / RECORD_FILE).read_text())["began"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _modified(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
