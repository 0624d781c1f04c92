"""Whole runs on Ray with the toy simulator: resume, stop and failure."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.e2e import held, runs
from tests.e2e.places import Installation

TOY = "toy_ppo_mlp"
STEPS, SAVED = 16, 6
SETTINGS = (
    *runs.SMALL,
    f"runner.max_steps={STEPS}",
    f"runner.save_interval={SAVED}",
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """Where no path is a plain word."""
    return Installation(tmp_path_factory.mktemp("places"))


@pytest.fixture
def temporary() -> Iterator[dict[str, str]]:
    """Where a run keeps its temporary files; half a minute after its end none of them is left."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield {"TMPDIR": str(folder)}
    runs.wait_for(lambda: not list(folder.glob("rlinf-*")), "the end of the temporary files")
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def undisturbed(odd: Installation) -> Path:
    """The folder of a run that nothing happened to, which its surroundings do not change."""
    folder = odd.folder / "logs"
    process = runs.start(
        "train",
        TOY,
        folder,
        *SETTINGS,
        inside=odd.inside,
        program=odd.program,
        environment=odd.environment,
    )
    output = runs.output_of(process)
    assert process.returncode == 0, output
    return folder


def test_a_run_works_under_uv_and_in_folders_of_any_name(odd: Installation, undisturbed: Path):
    """Its workers are of that installation, too, and none copied the folder that it started in."""
    assert len(runs.metrics(undisturbed)) == STEPS
    assert (undisturbed / "export" / "policy.safetensors").is_file()
    said = [log.read_text() for log in (undisturbed / "workers").glob("*.log")]
    assert len(said) >= 3 and all(f"starts in {odd.python}\n" in text for text in said)


def test_nothing_is_imported_from_where_a_run_is_started(odd: Installation, undisturbed: Path):
    assert [path.name for path in odd.started_in.rglob("*.ran")] == []


def test_killed_workers_a_killed_ray_a_sigterm_and_a_resume_change_no_number(
    tmp_path: Path, undisturbed: Path, temporary: dict[str, str]
):
    process, gate = held.start(TOY, tmp_path, *SETTINGS, environment=temporary)
    try:
        gate.open(9)
        for count, worker in ((1, "EnvWorker"), (5, "RolloutWorker")):
            runs.wait_for_iterations(tmp_path, count, process)
            os.kill(runs.find_worker(process, worker).pid, signal.SIGKILL)
        gate.wait_for_update(9)  # so the state after the iteration before is kept
        os.kill(runs.find_worker(process, "ActorWorker").pid, signal.SIGKILL)
        gate.open(12)
        gate.wait_for_update(12)
        for daemon in ("raylet", "gcs_server"):
            runs.find_process(process, daemon).kill()
        gate.open(13)
        gate.wait_for_update(13)
        started = runs.descendants(process)
        process.send_signal(signal.SIGTERM)
        gate.open(STEPS)  # within its grace time the update is complete
        output = runs.output_of(process)
    finally:
        runs.kill_all(process)
    assert process.returncode == 143, output
    assert "runner.resume_dir=auto continues this run" in output
    runs.wait_for_ends(started)

    records = runs.metrics(tmp_path)
    for name, count in (("env", 2), ("rollout", 2), ("actor", 2), ("ray", 1)):
        assert sum(r.get(f"faults/{name}_restarts", 0) for r in records) == count, output
    reached = [int(step) for step in re.findall(r"going on from step (\d+)", output)]
    assert reached[-2:] == [9, 12]  # the actor's last iteration, not the checkpoint

    done = records[-1]["step"]
    assert done == 14 < STEPS
    assert (tmp_path / "checkpoints" / "latest").read_text().strip() == f"global_step_{done}"
    runs.run("train", TOY, tmp_path, *SETTINGS, "runner.resume_dir=auto")
    expected = runs.without_times(runs.metrics(undisturbed))
    assert runs.without_times(runs.metrics(tmp_path)) == expected
    found = runs.policy(tmp_path, STEPS)
    for name, weights in runs.policy(undisturbed, STEPS).items():
        assert np.array_equal(weights, found[name]), name


BARE = """
mount -t tmpfs -o size=16m none /dev/shm
ip link set lo up
exec unshare -U --map-user=12345 --map-group=12345 "$@"
"""


def test_a_bare_container_is_enough_and_a_worker_that_keeps_dying_ends_the_run_with_its_name(
    tmp_path: Path,
):
    """16 MB of shared memory, where Ray's smallest store has 75; no network; a user without an
    entry and a home, whose folder of temporary files has too long a name.

    With no retries the first death is one too many.
    """
    inside: tuple[str, ...] = ("unshare", "-Urnm", "sh", "-ec", BARE, "sh")
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        warnings.warn("no namespaces here: memory, network and user stay", stacklevel=1)
        inside = ()
    long = tmp_path / "temporary-files-in-a-folder-with-a-long-name"
    long.mkdir()
    variables = {"TMPDIR": str(long), "HOME": "/nowhere", "USER": "", "LOGNAME": ""}
    settings = (*runs.SMALL, "runner.max_steps=1000000", "runner.max_failures=0")
    process = runs.start("train", TOY, tmp_path, *settings, inside=inside, environment=variables)
    try:
        runs.wait_for_iterations(tmp_path, 2, process)
        started = runs.descendants(process)
        os.kill(runs.find_worker(process, "RolloutWorker").pid, signal.SIGKILL)
        output = runs.output_of(process)
        assert process.returncode == 1, output
        assert "error: rollout[" in output
        assert f"TMPDIR = {long}: " in output and "export HOME" in output
        runs.wait_for_ends(started)
    finally:
        runs.kill_all(process)


def test_an_update_that_outlasts_its_grace_time_is_dropped_and_the_iteration_before_it_saved(
    tmp_path: Path, temporary: dict[str, str]
):
    """The second one takes for ever; a third of the grace time is for it, one to give it up.

    The request is a terminal that goes away, which hangs up on all processes, and more than once.
    """
    settings = (*runs.SMALL, "runner.grace_s=9", "runner.save_interval=-1")
    process, gate = held.start(TOY, tmp_path, *settings, environment=temporary)
    try:
        gate.open(1)
        gate.wait_for_update(1)
        for _ in range(2):
            os.killpg(process.pid, signal.SIGHUP)
        output = runs.output_of(process)
    finally:
        runs.kill_all(process)
    assert process.returncode == 129, output
    assert "the update of iteration 2 was dropped" in output
    assert [folder.name for folder in (tmp_path / "checkpoints").glob("global_*")] == [
        "global_step_1"
    ]


@pytest.mark.parametrize("phase", ["Ray starts", "an update"])
def test_a_launcher_that_is_killed_leaves_no_process_and_no_file(
    tmp_path: Path, temporary: dict[str, str], phase: str
):
    process, gate = held.start(TOY, tmp_path, *runs.SMALL, environment=temporary)
    try:
        if phase == "Ray starts":
            names = lambda: [p.name() for p in runs.descendants(process)]  # noqa: E731
            runs.wait_for(lambda: "raylet" in names(), "the raylet")
        else:
            gate.wait_for_update(0)
        started = runs.descendants(process)
        process.kill()
        process.wait()
        runs.wait_for_ends(started)
    finally:
        runs.kill_all(process)
