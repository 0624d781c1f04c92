"""`rlinf reproduce`: the table of results, what a row needs, and what became of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlinf.config.machine import this_machine
from rlinf.config.problems import Problem
from rlinf.errors import NotReproduced, UserError
from rlinf.logging.display import percent
from rlinf.logging.files import write_atomically
from rlinf.metrics.evaluation import newest_evaluation, read_evaluation
from rlinf.metrics.outcome import Outcome
from rlinf.results.registry import ExpectedRate, ResultRow
from rlinf.results.verdict import Judgement, judge

ALLOWED = re.compile(
    r"[+~]?(cluster\.|runner\.(logger|resume_dir|grace_s|worker_timeout_s|max_failures)|"
    r"env\.(train|eval)\.(num_processes|python|step_timeout_s|video_cfg)|env\.enable_offload|"
    r"env\.eval\.total_num_envs|rollout\.(enable_offload|compile)|actor\.enable_offload|"
    r"imitation\.cache_dir)"
)
"""Overrides that change where and how fast a row runs, and no result."""
_DESCRIBED_BY = ("config.json", "adapter_config.json")
"""Files of which a folder of published weights has one."""
COMMANDS = {"evaluate": "eval", "train": "train"}
"""What a row stands for."""


def show_rows(rows: Sequence[ResultRow], console: Console) -> None:
    """Prints the table of results, a line for each row."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in ("row", "run", "success, %", "GPUs", "from", "run by us"):
        table.add_column(head, no_wrap=head == "row")
    for row in rows:
        numbers = ", ".join(map(_labelled, row.expected))
        table.add_row(
            row.name,
            row.run,
            numbers or "not measured yet",
            str(row.gpus),
            row.source.by,
            row.run_by_us,
        )
    console.print(table)
    console.print("rlinf reproduce ROW --check says what a row is and what it needs here.")


def _labelled(expected: ExpectedRate) -> str:
    """With the decimals of the published tables."""
    number = f"{100 * expected.success:.2f}"
    return number if expected.of == "all" else f"{expected.of} {number}"


def describe(row: ResultRow, overrides: Sequence[str], console: Console) -> None:
    """Prints all that is known of a row.

    Args:
        overrides: see `overrides_of`.
    """
    hours = "not published" if row.gpu_hours is None else f"{row.gpu_hours:g}"
    revisions = [f"{w.repository}, revision {w.revision or 'not published'}" for w in row.weights]
    told = {
        "row": f"{row.name}: {row.title}",
        "runs": f"rlinf {COMMANDS[row.run]} {shlex.join([row.config, *overrides])}"
        + (f" --benchmark {row.benchmark}" if row.benchmark else ""),
        "weights": "; ".join(revisions) or "none",
        "protocol": row.protocol,
        "expected": "; ".join(map(_number, row.expected)) or "not measured yet",
        "from": f"{row.source.by}, {row.source.where}",
        "hardware": f"{row.hardware}; GPU hours: {hours}",
        "run by us": row.run_by_us + (f", {row.file}" if row.file else ""),
        "note": row.note or "",
    }
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name, text in told.items():
        if text:
            table.add_row(name, text)
    console.print(table)


def _number(expected: ExpectedRate) -> str:
    told = f"{expected.of} {percent(expected.success, 2)}"
    if expected.interval is not None:
        low, high = expected.interval
        return f"{told} ({percent(low, 1)} to {percent(high, 1)}, n {expected.episodes})"
    return told + (f" (n {expected.episodes})" if expected.episodes else " (not judged)")


def overrides_of(row: ResultRow, weights: Path, more: Sequence[str]) -> list[str]:
    """What the row's configuration is run with.

    Args:
        weights: folder that the published folders lie in.
        more: the user's own.

    Raises:
        UserError: one would make it another experiment.
    """
    for word in more:
        if not ALLOWED.match(word):
            raise UserError(
                f"{word} would make it another experiment than {row.name}",
                "leave it out; cluster, runner.logger and offloading may differ. For other "
                f"settings use rlinf {COMMANDS[row.run]} {row.config}",
            )
    named = [f"{one.key}={weights / one.folder}" for one in row.weights]
    return [*row.overrides, *named, *more]


def needs(row: ResultRow, weights: Path) -> Iterator[Problem]:
    """What the row lacks on this machine, beside what its configuration says."""
    for one in row.weights:
        folder = weights / one.folder
        if not any((folder / name).is_file() for name in _DESCRIBED_BY):
            to = "" if weights == Path() else f" --to {folder}"
            lacking = "are not there"
            if folder.exists():
                lacking = f"are not there: it has no {' and no '.join(_DESCRIBED_BY)}"
            yield Problem(
                f"{one.key} = {folder}: the weights of {one.repository} {lacking}",
                f"run: rlinf download {one.repository}{to}",
            )
    found = this_machine().node.accelerators
    if found < row.gpus:
        yield Problem(
            f"{row.name} needs {row.gpus} GPU, this machine has {found}",
            "run it on a machine with a GPU; on a CPU it would take months",
        )
    if not row.expected:
        yield Problem(
            f"{row.name} has no number to compare with: nothing was measured yet",
            f"run: rlinf {COMMANDS[row.run]} {row.config}",
        )


def measured(row: ResultRow, folder: Path) -> dict[str, Outcome]:
    """What a run of the row found, by the names of `ExpectedRate.of`."""
    if row.benchmark is not None:
        table = json.loads((folder / "eval" / "table.json").read_text())["table"]
        cells = table["success_once"].items()
        return {
            name: Outcome(name, cell["success"], cell["low"], cell["high"], cell["episodes"])
            for name, cell in cells
            if cell is not None and "low" in cell
        }
    file = read_evaluation(newest_evaluation(folder))
    groups = {name: rate.outcome() for name, rate in file.groups.items()}
    return {**groups, "all": file.overall.outcome()}


def conclude(row: ResultRow, folder: Path, console: Console) -> None:
    """Prints and writes measured against expected.

    Raises:
        NotReproduced: a number is outside.
    """
    verdicts = judge(row.expected, measured(row, folder))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title=row.title)
    for head in ("", "expected", "interval", "measured", "interval", "n", "", "by"):
        table.add_column(head, overflow="fold")
    for one in verdicts:
        table.add_row(*_cells(one))
    console.print(table)
    if row.note:
        console.print(f"note: {row.note}")
    path = folder / "reproduce.json"
    content = {"row": row.model_dump(mode="json"), "verdicts": [asdict(one) for one in verdicts]}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())
    console.print(f"written: {path}", soft_wrap=True)
    if lost := [one.expected.label for one in verdicts if one.failed]:
        raise NotReproduced(
            f"{row.name} is not reproduced, outside: {', '.join(lost)}; its protocol is: "
            f"{row.protocol}"
        )
    console.print(f"{row.name} is reproduced.")


def _cells(one: Judgement) -> tuple[str, ...]:
    told = {True: "inside", False: "outside", None: "not judged"}[one.inside]
    known = one.expected.episodes > 0
    expected = _interval(one.expected) if known else ""
    found = ("none", "", "")
    if one.measured is not None:
        found = (
            percent(one.measured.success, 2),
            _interval(one.measured),
            str(one.measured.episodes),
        )
    return (one.expected.label, percent(one.expected.success, 2), expected, *found, told, one.test)


def _interval(outcome: Outcome) -> str:
    return f"{percent(outcome.low, 1)} to {percent(outcome.high, 1)}"
