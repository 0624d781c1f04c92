"""Folders of runs as a run writes them, small."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlinf.metrics.timeline import LATEST, Span, write_latest


def rows(first: int, last: int, success: float = 0.5) -> Iterable[dict[str, Any]]:
    """Lines of metrics of the iterations from `first` to `last`; every fifth is evaluated."""
    for step in range(first, last + 1):
        yield {
            "step": step,
            "env/success_once": success,
            "env/num_episodes": 100.0,
            "train/loss": 1.0 / (step + 1),
            "time/sync": 1.0,
            "time/rollout": 80.0,
            "time/advantages": 1.0,
            "time/update": 18.0,
            "time/step": 100.0,
            "time/idle_env": 0.28,
            "time/idle_rollout": 0.84,
            "time/idle_actor": 0.8,
            "faults/env_restarts": float(step == 3),
        }
        if step % 5 == 0:
            yield {
                "step": step,
                "eval/success_once": success,
                "eval/success_once_low": success - 0.1,
                "eval/success_once_high": success + 0.1,
                "eval/num_episodes": 96.0,
            }


def append(folder: Path, records: Iterable[dict[str, Any]]) -> None:
    """Adds lines to the metrics of a run."""
    with (folder / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def make_run(
    folder: Path, steps: int = 10, success: float = 0.5, config: str = "actor:\n  seed: 0\n"
) -> Path:
    """A run that has come to iteration `steps` of 20."""
    folder.mkdir(parents=True)
    append(folder, rows(1, steps, success))
    (folder / "config.yaml").write_text(f"runner:\n  max_steps: 20\n{config}")
    (folder / "run.json").write_text('{"began": 1700000000.0}\n')
    (folder / "plan.txt").write_text(f"a run: {folder.name}\nsamples N   128\n")
    (folder / "run.log").write_text(
        "2026-11-29 06:13:50,426 INFO rlinf.logging.console: all is well\n"
        "2026-11-29 06:13:51,426 WARNING rlinf.runners.health: env worker 0 exited with code 9\n"
        "a traceback of someone\n"
    )
    spans = [
        Span("env0", "envs 0 to 7", "simulate", 10.0, 60.0, True),
        Span("env0", "envs 0 to 7", "wait for the policy", 60.0, 80.0, False),
        Span("rollout0", "", "act", 60.0, 80.0, True),
        Span("actor0", "", "update", 80.0, 110.0, True),
    ]
    write_latest(folder / LATEST, steps, spans)
    return folder


def add_video(folder: Path, name: str, outcomes: list[bool], content: bytes = b"no video") -> Path:
    """A video with the episodes that it shows; the content is none that plays."""
    path = folder / "video" / "eval" / f"{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    episodes = [
        {"env": env, "instruction": "push the cube", "success": solved, "steps": 9, "ended": True}
        for env, solved in enumerate(outcomes)
    ]
    path.with_suffix(".json").write_text(json.dumps({"episodes": episodes}))
    return path


def add_result(folder: Path, outcomes: list[bool], video: str | None = None) -> Path:
    """The result of an evaluation; `video` is that of its last trial."""
    path = folder / "eval" / "step_0.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    trials: list[dict[str, Any]] = [
        {"task": 0, "trial": trial, "repeat": 0, "success_once": solved, "length": 9}
        for trial, solved in enumerate(outcomes)
    ]
    trials[-1]["video"] = video
    path.write_text(json.dumps({"episodes": trials}))
    after = max((file.stat().st_mtime_ns for file in path.parent.rglob("*.jsonl")), default=0)
    now = max(after + 1, path.stat().st_mtime_ns)
    os.utime(path, ns=(now, now))
    return path
