"""Runs whose updates wait for a test, so that what happens during one does not depend on speed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rlinf.cli import main
from rlinf.data.types import TrainBatch
from rlinf.logging.files import write_atomically
from rlinf.metrics.types import Metrics
from rlinf.runners.worker_groups import WORKERS
from rlinf.workers.actor import ActorWorker
from tests.e2e import runs

FOLDER = "RLINF_TEST_GATE"  # variable that the processes of a held run find the gate's folder by


class Gate:
    """The iterations of a run whose updates may begin."""

    def __init__(self, folder: Path, process: subprocess.Popen[str] | None = None) -> None:
        self.folder, self.process = folder, process

    def open(self, count: int) -> None:
        """Lets the updates of the first `count` iterations begin; that of the next one waits."""
        self.folder.mkdir(exist_ok=True)
        write_atomically(self.folder / "open", str(count).encode())

    def wait_for_update(self, index: int) -> None:
        """Waits until the update of iteration `index`, counted from 0, is under way."""
        begun = self.folder / f"begun_{index}"
        runs.wait_for(begun.exists, f"update of iteration {index}", self.process)

    def is_open_for(self, index: int) -> bool:
        """Whether the update of iteration `index` may begin."""
        return index < int((self.folder / "open").read_text())


def start(
    config: str, folder: Path, *overrides: str, environment: Mapping[str, str] | None = None
) -> tuple[subprocess.Popen[str], Gate]:
    """Starts a training whose gate is closed."""
    gate = Gate(folder / "gate")
    gate.open(0)
    process = runs.start(
        "train",
        config,
        folder,
        *overrides,
        program=(sys.executable, "-m", "tests.e2e.held"),
        environment={
            **(environment or {}),
            FOLDER: str(gate.folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
    )
    gate.process = process
    return process, gate


class HeldActorWorker(ActorWorker):
    """Its updates take until the gate is open for them, or until they are to be given up."""

    def update(self, batch: TrainBatch, step: int) -> Metrics:
        gate = Gate(Path(os.environ[FOLDER]))
        (gate.folder / f"begun_{step}").touch()
        while not (gate.is_open_for(step) or self.micro_batches.given_up.wait(0.05)):
            pass
        return super().update(batch, step)


if __name__ == "__main__":  # the `rlinf` command, with another actor
    WORKERS["actor"] = "tests.e2e.held:HeldActorWorker"
    sys.exit(main())
