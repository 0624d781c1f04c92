"""Where the metrics of a run go: always `metrics.jsonl`, and the backends that the config names."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rlinf.errors import UserError
from rlinf.logging.events import EventFile
from rlinf.logging.files import RecordFile, folder_must_be_writable, write_atomically
from rlinf.logging.uploads import Uploader
from rlinf.metrics.names import with_aliases

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"


class MetricWriter(Protocol):
    """One destination. A destination in trouble warns and tries again; it never raises."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the values of one step."""

    def close(self, completed: bool) -> None:
        """Upload what is left. `completed` is False when the run failed."""


class JsonLinesWriter:
    """`metrics.jsonl`: one object per call, `{"step": 3, "train/loss": 0.5}`, canonical names.

    JSON has no NaN: such a value becomes null, with one warning per metric.

    Args:
        path: of the file.
        resume_step: lines after this step are dropped, so that the file ends up as an uninterrupted
            run would have written it; None starts a new file.
    """

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        if path.exists():
            if resume_step is None:
                raise UserError(
                    f"runner.logger.log_path: {path} already holds the metrics of a run",
                    "choose another folder, or continue that run with runner.resume_dir=auto",
                )
            _drop_after(path, resume_step)
        self._file = RecordFile(path)
        self._warned: set[str] = set()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one line and hand it to the operating system."""
        record: dict[str, float | None] = {"step": step}
        for name, value in metrics.items():
            finite = math.isfinite(value)
            record[name] = value if finite else None
            if not finite and name not in self._warned:
                self._warned.add(name)
                logger.warning("step %d: %s is %s; metrics.jsonl says null", step, name, value)
        self._file.append(json.dumps(record, allow_nan=False).encode() + b"\n")

    def close(self, completed: bool = True) -> None:
        del completed
        self._file.close()


class TensorBoardWriter:
    """Event files in `<folder>/tensorboard`, every metric under all its names."""

    def __init__(self, folder: Path, resume_step: int | None = None) -> None:
        self._events = EventFile(folder / "tensorboard", resume_step)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._events.write(step, with_aliases(metrics))

    def close(self, completed: bool = True) -> None:
        del completed
        self._events.close()


class MetricWriters:
    """All writers of a run.

    Args:
        folder: of the run; created if missing.
        backends: any of `tensorboard`, `wandb`, `swanlab`.
        project_name: project of wandb and swanlab.
        experiment_name: name of the run there.
        config: of the run, in JSON types.
        resume_step: step of the checkpoint the run continues; None for a new run.
    """

    def __init__(
        self,
        folder: Path,
        backends: Sequence[str],
        project_name: str,
        experiment_name: str,
        config: Mapping[str, Any],
        resume_step: int | None = None,
    ) -> None:
        metrics_file = folder / METRICS_FILE

        def uploader(service: str) -> MetricWriter:
            return Uploader(service, metrics_file, project_name, experiment_name, config)

        makers: dict[str, Callable[[], MetricWriter]] = {
            "tensorboard": lambda: TensorBoardWriter(folder, resume_step),
            "wandb": lambda: uploader("wandb"),
            "swanlab": lambda: uploader("swanlab"),
        }
        self._writers: list[MetricWriter] = []
        before = set(folder.iterdir()) if folder.is_dir() else set()
        try:
            with folder_must_be_writable(folder):
                folder.mkdir(parents=True, exist_ok=True)
                self._writers.append(JsonLinesWriter(metrics_file, resume_step))
                for backend in dict.fromkeys(backends):
                    self._writers.append(makers[backend]())
        except UserError:
            self.close(completed=False)
            for path in (metrics_file, folder / "tensorboard"):  # or they would look like a run
                if path.exists() and path not in before:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            raise

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of a step, under their canonical names.

        Several calls with one step (training, then evaluation) add up.
        """
        clean = {_utf8(name): float(value) for name, value in metrics.items()}
        for writer in self._writers:
            writer.write(step, clean)

    def close(self, completed: bool = True) -> None:
        """Bring everything home; takes at most half a minute per service.

        Args:
            completed: False if the run failed; the services then show it so.
        """
        for writer in self._writers:
            writer.close(completed)
        self._writers.clear()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole records of a `metrics.jsonl`, damaged lines left out."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [record for record in map(parse_record, lines) if record is not None]


def parse_record(line: bytes) -> dict[str, Any] | None:
    """One line with its line end; None if it is damaged or torn."""
    try:
        record = json.loads(line)
    except ValueError:  # also what is not UTF-8
        return None
    whole = line.endswith(b"\n") and isinstance(record, dict) and "step" in record
    return record if whole else None


def _drop_after(path: Path, step: int) -> None:
    """Rewrite the file without the lines after `step` and without damaged ones."""
    lines = path.read_bytes().splitlines(keepends=True)
    records = [parse_record(line) for line in lines]
    damaged = records.count(None)
    if damaged:
        logger.warning("%s: left out %d damaged lines", path, damaged)
    pairs = zip(lines, records, strict=True)
    write_atomically(path, b"".join(line for line, r in pairs if r and r["step"] <= step))


def _utf8(name: str) -> str:
    """Task texts in names may carry bytes that are no text; protobuf refuses those."""
    return name.encode("utf-8", "replace").decode()
