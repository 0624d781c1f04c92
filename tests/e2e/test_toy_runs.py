"""Whole runs on Ray with the toy simulator: resume, stop and failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.e2e import runs

TOY = "toy_ppo_mlp"
# Gradients of two ranks add up over gloo.
TWO_RANKS = ("cluster.component_placement.actor=0-1",)


ENDLESS = ("runner.max_steps=1000000",)


def wait_for_iterations(folder: Path, count: int) -> None:
    """Waits until a run has logged so many."""
    metrics = folder / "metrics.jsonl"
    runs.wait_for(
        lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= count,
        120,
        f"{count} iterations",
    )


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that would go on for hours, in its second iteration or later."""
    process = runs.start("train", TOY, tmp_path, *runs.SMALL, *ENDLESS)
    try:
        wait_for_iterations(tmp_path, 2)
        yield process
    finally:
        runs.kill_all(process)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    runs.run("train", TOY, whole, *runs.SMALL, *TWO_RANKS, "runner.max_steps=4")
    runs.run("train", TOY, parts, *runs.SMALL, *TWO_RANKS, "runner.max_steps=2")
    again = ("runner.max_steps=4", "runner.resume_dir=auto")
    runs.run("train", TOY, parts, *runs.SMALL, *TWO_RANKS, *again)
    assert runs.without_times(runs.metrics(parts)) == runs.without_times(runs.metrics(whole))
    expected, resumed = runs.policy(whole, 4), runs.policy(parts, 4)
    for name, weights in expected.items():
        assert np.array_equal(weights, resumed[name]), name


def test_asynchronous_runs_are_one_iteration_behind_and_equal_each_other(tmp_path: Path):
    settings = (*runs.SMALL, "runner.mode=async", "runner.max_steps=6", "runner.save_interval=3")
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        runs.run("train", TOY, folder, *settings, "runner.val_check_interval=2")
    records = [record for record in runs.metrics(first) if "rollout/staleness" in record]
    assert [record["rollout/staleness"] for record in records] == [0, 1, 1, 1, 1, 1]
    ratios = [record["train/actor/ratio"] for record in records]
    assert all(abs(ratio - 1) < 0.5 for ratio in ratios)
    assert runs.without_times(runs.metrics(first)) == runs.without_times(runs.metrics(second))
    for name, weights in runs.policy(first, 6).items():
        assert np.array_equal(weights, runs.policy(second, 6)[name]), name


def test_sigterm_saves_and_leaves_no_process(long_run: subprocess.Popen[str], tmp_path: Path):
    started = runs.descendants(long_run)
    long_run.send_signal(signal.SIGTERM)
    output, _ = long_run.communicate(timeout=30)
    assert long_run.returncode == 143, output
    assert "runner.resume_dir=auto continues this run" in output
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive
    done = runs.metrics(tmp_path)[-1]["step"]
    assert (tmp_path / "checkpoints" / "latest").read_text().strip() == f"global_step_{done}"


def test_a_worker_that_keeps_dying_ends_the_run_with_its_name(tmp_path: Path):
    """With no retries the first death is one too many."""
    process = runs.start("train", TOY, tmp_path, *runs.SMALL, *ENDLESS, "runner.max_failures=0")
    try:
        wait_for_iterations(tmp_path, 2)
        started = runs.descendants(process)
        os.kill(runs.find_worker(process, "RolloutWorker").pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 1, output
        assert "error: rollout[" in output
        _, alive = psutil.wait_procs(started, timeout=5)
        assert not alive
    finally:
        runs.kill_all(process)


def test_killed_workers_are_replaced_and_change_no_number(tmp_path: Path):
    whole, hurt = tmp_path / "whole", tmp_path / "hurt"
    settings = (*runs.SMALL, *TWO_RANKS, "runner.max_steps=60", "runner.save_interval=20")
    runs.run("train", TOY, whole, *settings)
    process = runs.start("train", TOY, hurt, *settings)
    try:
        for count, worker in enumerate(("EnvWorker", "RolloutWorker", "ActorWorker")):
            wait_for_iterations(hurt, 3 + 15 * count)
            os.kill(runs.find_worker(process, worker).pid, signal.SIGKILL)
        output, _ = process.communicate(timeout=300)
    finally:
        runs.kill_all(process)
    assert process.returncode == 0, output
    records = runs.metrics(hurt)
    replaced = {"env": 1, "rollout": 1, "actor": 2}  # the ranks of the actor hold one state
    for name, count in replaced.items():
        assert sum(r.get(f"faults/{name}_restarts", 0) for r in records) == count, output
    assert runs.without_times(records) == runs.without_times(runs.metrics(whole))
    reached = [int(step) for step in re.findall(r"going on from step (\d+)", output)]
    assert reached[-1] >= 33  # of the actor's last iteration, not of the checkpoint of step 20
    expected, found = runs.policy(whole, 60), runs.policy(hurt, 60)
    for name, weights in expected.items():
        assert np.array_equal(weights, found[name]), name
