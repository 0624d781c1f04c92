"""Whole runs on Ray with the toy simulator: resume, stop and failure."""

from __future__ import annotations

import os
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


@pytest.fixture
def long_run(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that would go on for hours, in its second iteration or later."""
    process = runs.start("train", TOY, tmp_path, *runs.SMALL, "runner.max_steps=1000000")
    try:
        metrics = tmp_path / "metrics.jsonl"
        runs.wait_for(
            lambda: metrics.exists() and len(metrics.read_text().splitlines()) > 1,
            120,
            "two iterations",
        )
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


@pytest.mark.parametrize("worker", ["EnvWorker", "RolloutWorker", "ActorWorker"])
def test_a_killed_worker_ends_the_run_with_its_name(long_run: subprocess.Popen[str], worker: str):
    started = runs.descendants(long_run)
    os.kill(runs.find_worker(long_run, worker).pid, signal.SIGKILL)
    output, _ = long_run.communicate(timeout=30)
    assert long_run.returncode == 1, output
    assert f"error: {worker.removesuffix('Worker').lower()}[" in output
    _, alive = psutil.wait_procs(started, timeout=5)
    assert not alive
