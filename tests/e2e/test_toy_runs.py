"""Whole runs on Ray with the toy simulator: resume, stop and failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.e2e import runs

TOY = "toy_ppo_mlp"
STEPS, SAVED = 16, 6
SETTINGS = (
    *runs.SMALL,
    f"runner.max_steps={STEPS}",
    f"runner.save_interval={SAVED}",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    runs.run("train", TOY, folder, *SETTINGS)
    return folder


def test_killed_workers_a_sigterm_and_a_resume_change_no_number(tmp_path: Path, undisturbed: Path):
    process = runs.start("train", TOY, tmp_path, *SETTINGS)
    try:
        for count, worker in enumerate(("EnvWorker", "RolloutWorker", "ActorWorker")):
            runs.wait_for_iterations(tmp_path, 1 + 4 * count)
            os.kill(runs.find_worker(process, worker).pid, signal.SIGKILL)
        runs.wait_for_iterations(tmp_path, 10)
        started = runs.descendants(process)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    finally:
        runs.kill_all(process)
    assert process.returncode == 143, output
    assert "runner.resume_dir=auto continues this run" in output
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive

    records = runs.metrics(tmp_path)
    for name in ("env", "rollout", "actor"):
        assert sum(r.get(f"faults/{name}_restarts", 0) for r in records) == 1, output
    reached = [int(step) for step in re.findall(r"going on from step (\d+)", output)]
    assert reached[-1] > SAVED  # the actor's last iteration, not the checkpoint

    done = records[-1]["step"]
    assert done < STEPS
    assert (tmp_path / "checkpoints" / "latest").read_text().strip() == f"global_step_{done}"
    runs.run("train", TOY, tmp_path, *SETTINGS, "runner.resume_dir=auto")
    expected = runs.without_times(runs.metrics(undisturbed))
    assert runs.without_times(runs.metrics(tmp_path)) == expected
    found = runs.policy(tmp_path, STEPS)
    for name, weights in runs.policy(undisturbed, STEPS).items():
        assert np.array_equal(weights, found[name]), name


def test_little_shared_memory_is_enough_and_a_worker_that_keeps_dying_ends_the_run_with_its_name(
    tmp_path: Path,
):
    """16 MB, as in a container that nobody gave some; Ray's smallest store has 75.

    With no retries the first death is one too many.
    """
    small = 'mount -t tmpfs -o size=16m none /dev/shm && exec "$@"'
    inside: tuple[str, ...] = ("unshare", "-Urm", "sh", "-c", small, "sh")
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        warnings.warn("no namespaces here: shared memory keeps its size", stacklevel=1)
        inside = ()
    settings = (*runs.SMALL, "runner.max_steps=1000", "runner.max_failures=0")
    process = runs.start("train", TOY, tmp_path, *settings, inside=inside)
    try:
        runs.wait_for_iterations(tmp_path, 2)
        started = runs.descendants(process)
        os.kill(runs.find_worker(process, "RolloutWorker").pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 1, output
        assert "error: rollout[" in output
        _, alive = psutil.wait_procs(started, timeout=5)
        assert not alive
    finally:
        runs.kill_all(process)


def test_an_update_that_outlasts_its_grace_time_is_dropped_and_the_iteration_before_it_saved(
    tmp_path: Path,
):
    """Each update takes some seconds here, of which one and a half are granted."""
    slow = ("algorithm.update_epoch=90", "runner.grace_s=4.5", "runner.save_interval=-1")
    process = runs.start("train", TOY, tmp_path, *runs.SMALL, *slow)
    try:
        runs.wait_for_iterations(tmp_path, 1)
        rank = runs.find_worker(process, "ActorWorker")
        before = rank.cpu_times().user
        runs.wait_for(lambda: rank.cpu_times().user > before + 1, 60, "the second update")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    finally:
        runs.kill_all(process)
    assert process.returncode == 143, output
    assert "the update of iteration 2 was dropped" in output
    assert [folder.name for folder in (tmp_path / "checkpoints").glob("global_*")] == [
        "global_step_1"
    ]
