"""A run over two nodes of Ray: what crosses between them, and that it goes on where an actor rank
dies, or one of the nodes is lost.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.e2e import runs
from tests.e2e.machines import PORT, Machine

TOY = "toy_ppo_mlp"
STEPS = 6
ENVS, CHUNKS = 16, 30  # of an iteration, on both nodes together
ROW = 64 * 1024  # bytes of an observation
SETTINGS = (
    "cluster.component_placement={env: 0-1, rollout: 1, actor: 0-1}",
    "rollout.pipeline_stage_num=1",
    "runner.val_check_interval=-1",
    "runner.save_interval=4",
    "runner.keep_checkpoints=1000",
    f"env.train.total_num_envs={ENVS}",
    f"env.train.max_steps_per_rollout_epoch={CHUNKS}",
    "env.train.max_episode_steps=20",
    "actor.micro_batch_size=60",
    "actor.global_batch_size=240",
    "actor.model.hidden_dim=2",  # weights and gradients are small beside observations
    # Large enough to be kept in the object store of a node.
    *(
        f"{key}={ROW // 4}"
        for key in (
            "env.train.init_params.obs_dim",
            "env.eval.init_params.obs_dim",
            "actor.model.obs_dim",
        )
    ),
)
TWO_NODES = (
    "cluster.cpu_slots=1",
    "cluster.num_nodes=2",
    f"cluster.ray_address=10.77.0.1:{PORT}",
    "cluster.node_timeout_s=240",
)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Two machines with a cable between them."""
    made: list[Machine] = []
    try:
        try:
            made.append(Machine("10.77.0.1", tmp_path / "a"))
            made.append(Machine("10.77.0.2", tmp_path / "b", made[0]))
        except OSError as error:
            pytest.skip(str(error))
        made[0].plug(made[1])
        yield made[0], made[1]
    finally:
        for machine in reversed(made):
            machine.close()


def test_two_nodes_give_the_same_numbers_where_a_lost_node_is_replaced(
    tmp_path: Path, machines: tuple[Machine, Machine]
):
    one, two, (head, other) = tmp_path / "one", tmp_path / "two", machines
    place = {"inside": head.enter(), "environment": head.variables}

    head.start_ray()
    refused = start_with_another_token(head, tmp_path)
    other.start_ray(head)
    assert_refused(refused)
    process = runs.start(
        "train", TOY, one, *SETTINGS, *TWO_NODES, f"runner.max_steps={STEPS}", **place
    )
    assert_observations_stay_where_they_are(one, process, machines)
    other.lose()

    process = runs.start(
        "train", TOY, two, *SETTINGS, *TWO_NODES, "runner.max_steps=1000000", **place
    )
    try:
        wait_for_waits(two, 1)
        other.start_ray(head)
        runs.wait_for_iterations(two, 1, process)
        os.kill(worker_on(head, "ActorWorker").pid, signal.SIGKILL)
        runs.wait_for_iterations(two, 4, process)
        other.lose()
        wait_for_waits(two, 2)
        other.start_ray(head)
        runs.wait_for_iterations(two, STEPS, process)
        other.lose()
        wait_for_waits(two, 3)
        process.send_signal(signal.SIGTERM)  # a run that waits can be stopped
        output = runs.output_of(process)
    finally:
        runs.kill_all(process)
    assert process.returncode == 143, output
    assert "runner.resume_dir=auto" in output and "Traceback" not in output

    kept, saved = (int(step) for step in re.findall(r"going on from step (\d+)", output))
    assert kept > 0 and saved in (0, 4)  # the last iteration, and the checkpoint
    records = runs.metrics(two)
    assert sum(record.get("faults/actor_restarts", 0) for record in records) == 2 + 2
    assert sum(record.get("faults/node_restarts", 0) for record in records) == 1
    assert runs.without_times(records)[:STEPS] == runs.without_times(runs.metrics(one))
    # The last one that was certainly written before the second loss.
    expected, found = runs.policy(one, STEPS - 2), runs.policy(two, STEPS - 2)
    for name, weights in expected.items():
        assert np.array_equal(weights, found[name]), name


def start_with_another_token(head: Machine, folder: Path) -> subprocess.Popen[str]:
    """A run that has another token than the cluster."""
    return runs.start(
        "train",
        TOY,
        folder / "refused",
        *SETTINGS,
        *TWO_NODES,
        inside=head.enter(),
        environment={**head.variables, "RAY_AUTH_TOKEN": "1" * 64},
    )


def assert_refused(process: subprocess.Popen[str]) -> None:
    """It ends with what to do."""
    output = runs.output_of(process)
    assert process.returncode == 2, output
    assert "the cluster has another token than this machine" in output
    assert "Traceback" not in output


def assert_observations_stay_where_they_are(
    folder: Path, process: subprocess.Popen[str], machines: Sequence[Machine]
) -> None:
    """A run to its end, whose actor ranks read the observations of their own node.

    The first node has no rollout rank, so its half of the observations crosses once, to be acted
    on: 30 chunks of 8 envs, the values after the last one and after each of the 1.5 episodes of an
    env, 17.0 MB. Shards of weights and gradients are 4.3 MB, what Ray itself says is 1 MB. If every
    actor rank read all observations, the other halves would cross too: 31.5 MB more.
    """
    sent = []
    for count in range(1, STEPS + 1):
        runs.wait_for_iterations(folder, count, process)
        sent.append(sum(machine.sent() for machine in machines))
    output = runs.output_of(process)
    assert process.returncode == 0, output
    acted_on = ENVS // 2 * (CHUNKS + 1 + CHUNKS / 20) * ROW
    per_iteration = (sent[-1] - sent[0]) / (STEPS - 1)
    assert per_iteration < acted_on + ENVS * CHUNKS * ROW / 2


def worker_on(machine: Machine, name: str) -> psutil.Process:
    """A worker process on a machine, by the class Ray names it after."""
    for process in psutil.process_iter():
        try:
            words = [" ".join(one.cmdline()) for one in (process, *process.parents())]
        except psutil.NoSuchProcess:
            continue
        if name in words[0] and any(f"--node_ip_address={machine.address}" in w for w in words):
            return process
    raise AssertionError(f"no {name} on {machine.address}")


def wait_for_waits(folder: Path, count: int) -> None:
    """Waits until a run has said so many times that it waits for a node."""
    log, words = folder / "run.log", "waiting up to 240 s for 1 node of 2"
    runs.wait_for(lambda: log.exists() and log.read_text().count(words) == count, words)
