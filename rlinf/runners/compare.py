"""`rlinf eval --compare` and `--merge`: what is done with the result files of evaluations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlinf.errors import UserError
from rlinf.logging.display import percent
from rlinf.logging.files import write_atomically
from rlinf.metrics.comparison import Compared, compared
from rlinf.metrics.evaluation import EvaluationFile, merged, newest_evaluation, read_evaluation
from rlinf.metrics.paired import DRAWS
from rlinf.runners.evaluate import write_result

HEADS = ("", "starts", "A", "B", "B - A, points", "interval", "A alone", "B alone", "p")


def compare(first: Path, second: Path, output: Path | None, say: Callable[[str], None]) -> None:
    """Prints how two evaluations differ, task by task, and writes it as Markdown if asked to.

    Args:
        first: a result file, or the folder of a run, whose last evaluation it stands for.
        output: file of the same table.

    Raises:
        UserError: they do not have the same starts, or a file cannot be read or written.
    """
    paths = [newest_evaluation(path) for path in (first, second)]
    files = [read_evaluation(path) for path in paths]
    rows = compared(files[0], files[1], [str(path) for path in paths])
    table = Table(box=None, pad_edge=False)
    for index, head in enumerate(HEADS):
        table.add_column(head, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*cells(row), style="bold" if row is rows[-1] else "")
    Console(highlight=False).print(table)
    notes = explained(paths, files)
    for note in notes:
        say(note)
    if output is not None:
        lines = ["# Comparison", "", f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
        lines += [f"| {' | '.join(cells(row))} |" for row in rows]
        _write(output, "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n")


def cells(row: Compared) -> tuple[str, ...]:
    """A row of the table."""
    return (
        row.label,
        str(row.starts),
        percent(row.first, 1),
        percent(row.second, 1),
        f"{100 * row.change:+.1f}",
        f"{100 * row.low:+.1f} to {100 * row.high:+.1f}",
        str(row.first_better),
        str(row.second_better),
        f"{row.p_value:.4f}" if row.p_value >= 0.0001 else f"{row.p_value:.1e}",
    )


def explained(paths: Sequence[Path], files: Sequence[EvaluationFile]) -> list[str]:
    """What stands below the table."""
    repeated = any(trial.repeat for trial in files[0].episodes)
    test = (
        "sign test of starts, as each has several episodes"
        if repeated
        else "McNemar's exact test, two-sided"
    )
    notes = [
        *(f"{name}: {path}" for name, path in zip("AB", paths, strict=True)),
        f"p: {test}, of the starts that one policy solved and the other did not",
        f"interval: of the difference, 95 %, by a paired bootstrap: {DRAWS} resamples of starts "
        "within tasks",
        "with several tasks, some p below 0.05 is chance: the last row has no such choice",
    ]
    sampling = [file.settings.get("sampling") for file in files]
    if sampling[0] != sampling[1]:
        notes.append(f"actions were drawn differently: A {sampling[0]}, B {sampling[1]}")
    return notes


def merge(parts: Sequence[Path], folder: Path) -> Path:
    """Writes the evaluation whose shards are given into a new folder; returns the result file.

    Raises:
        UserError: they are not the shards of one evaluation, one is missing, or the folder exists.
    """
    paths = [newest_evaluation(path) for path in parts]
    files = [read_evaluation(path) for path in paths]
    whole = merged(
        [_absolute(f, p) for f, p in zip(files, paths, strict=True)], list(map(str, paths))
    )
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"--output {folder}: {error.strerror}", "name a folder that does not exist yet"
        ) from error
    return write_result(folder, whole)


def _absolute(file: EvaluationFile, path: Path) -> EvaluationFile:
    """With the places of its videos, which were relative to its run."""
    run = path.resolve().parent.parent
    trials = [
        trial.model_copy(update={"video": str(run / trial.video) if trial.video else None})
        for trial in file.episodes
    ]
    return file.model_copy(update={"episodes": trials})


def _write(path: Path, text: str) -> None:
    try:
        write_atomically(path, text.encode())
    except OSError as error:
        raise UserError(
            f"--output {path}: cannot be written: {error.strerror}", "name another file"
        ) from error
