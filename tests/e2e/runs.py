"""Starting `rlinf` as a user does, and reading what a run left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from safetensors.numpy import load_file

from rlinf.models.export import write_policy

RLINF = Path(sys.executable).parent / "rlinf"

SMALL = (
    "cluster.cpu_slots=2",
    "cluster.component_placement.env=0",
    "cluster.component_placement.rollout=0",
    "cluster.component_placement.actor=0",
    "rollout.pipeline_stage_num=2",
    "runner.val_check_interval=-1",
    "env.train.total_num_envs=16",
    "env.train.max_steps_per_rollout_epoch=30",
    "env.train.max_episode_steps=20",
    "actor.micro_batch_size=60",
    "actor.global_batch_size=240",
    "actor.model.hidden_dim=32",
)


# Waits end with what they wait for. A test that has waited so long, in seconds, fails: something
# hangs, however busy the machine is.
HANGS_S = 3600


def start(
    command: str,
    config: str,
    folder: Path,
    *overrides: str,
    inside: Sequence[str] = (),
    program: Sequence[str] = (str(RLINF),),
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[str]:
    """Starts a run in its own process group.

    Args:
        inside: words in front of the whole command, such as those that enter a namespace.
        program: what is started in place of `rlinf`.
        environment: variables that differ from those here.
        cwd: folder that it is started in.
    """
    ignored = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup
    try:
        return subprocess.Popen(
            [*inside, *program, command, config, f"runner.logger.log_path={folder}", *overrides],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "NO_COLOR": "1", **(environment or {})},
            cwd=cwd,
        )
    finally:
        signal.signal(signal.SIGHUP, ignored)


def output_of(process: subprocess.Popen[str]) -> str:
    """Waits for the end of a run; returns what it printed."""
    output, _ = process.communicate(timeout=HANGS_S)
    return output


def run(command: str, config: str, folder: Path, *overrides: str, **options: Any) -> str:
    """A run that must end well; returns what it printed. For the options see `start`."""
    process = start(command, config, folder, *overrides, **options)
    output = output_of(process)
    assert process.returncode == 0, output
    return output


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Metrics that must not depend on how fast the machine was, or on what had to be repaired."""
    incidental = ("time/", "faults/")
    return [
        {name: value for name, value in record.items() if not name.startswith(incidental)}
        for record in records
    ]


def policy(folder: Path, step: int) -> dict[str, np.ndarray]:
    """The weights in checkpoint `step`."""
    with tempfile.TemporaryDirectory() as out:
        write_policy(folder / "checkpoints" / f"global_step_{step}", Path(out) / "policy")
        return load_file(Path(out) / "policy" / "policy.safetensors")


def wait_for(
    condition: Callable[[], bool], what: str, process: subprocess.Popen[str] | None = None
) -> None:
    """Waits until something is so; fails the test if it hangs.

    Args:
        process: of the run that has to bring it about; the test fails at once where that ended.
    """
    deadline = time.monotonic() + HANGS_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {HANGS_S} s"
        if process is not None and process.poll() is not None and not condition():
            raise AssertionError(f"no {what}; exit code {process.returncode}: {output_of(process)}")
        time.sleep(0.1)


def wait_for_iterations(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Waits until a run has logged so many."""
    metrics = folder / "metrics.jsonl"
    wait_for(
        lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= count,
        f"{count} iterations",
        process,
    )


def wait_for_ends(processes: Sequence[psutil.Process]) -> None:
    """Waits until some processes are gone; fails the test if one of them stays."""
    _, alive = psutil.wait_procs(processes, timeout=HANGS_S)
    assert not alive


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All processes that a run has started."""
    return psutil.Process(process.pid).children(recursive=True)


def find_worker(process: subprocess.Popen[str], name: str) -> psutil.Process:
    """A worker process of a run, by the class Ray names it after."""
    found: list[psutil.Process] = []

    def is_there() -> bool:  # Ray renames a process between two calls, and one may just begin
        for each in descendants(process):
            with suppress(psutil.NoSuchProcess):
                if name in " ".join(each.cmdline()):
                    found.append(each)
        return bool(found)

    wait_for(is_there, f"the process of a {name}")
    return found[0]


def find_process(process: subprocess.Popen[str], name: str) -> psutil.Process:
    """A process that a run has started, by the name of its program."""
    found = [one for one in descendants(process) if one.name() == name]
    assert found, f"no {name} among {[one.name() for one in descendants(process)]}"
    return found[0]


def kill_all(process: subprocess.Popen[str]) -> None:
    """Ends a run, whatever state it is in."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
