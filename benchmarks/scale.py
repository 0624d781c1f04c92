"""What crosses the network in an iteration, and how full each node's object store gets.

A training of the toy with rows of 64 KiB on 1, 2 and 4 nodes: Linux namespaces of this machine with
a network, an address and a Ray node each, joined by virtual cables. Every node has one env, rollout
and actor rank and the same number of sub-envs, so an iteration grows with the nodes.

    python benchmarks/scale.py --write

Beside it, on paper: a configuration on eight nodes of eight GPUs.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import record
from rlinf.config.load import load
from rlinf.config.machine import Machine as Host
from rlinf.config.placement import Node

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the machines of the tests

from tests.e2e.machines import PORT, Machine  # noqa: E402

NODES = (1, 2, 4)
STEPS = 4  # iterations; the first is not counted
ENVS, CHUNKS, EPOCHS = 16, 15, 2  # of a node: sub-envs; chunks and rollout epochs of an iteration
ROW = 64 * 1024  # bytes of an observation
ON_PAPER = "libero_10_grpo_openvlaoft"
POLL_S = 0.02
# Iterations in the object store at most. Ray frees unreferenced objects once per second, while the
# next iteration is already collected. With RAY_free_objects_period_milliseconds=10 it is one.
KEPT = 2


def settings(nodes: int, folder: Path) -> list[str]:
    """Overrides of `toy_ppo_mlp`."""
    samples = nodes * ENVS * CHUNKS * EPOCHS
    numbers = ROW // 4
    return [
        f"runner.logger.log_path={folder}",
        f"runner.max_steps={STEPS}",
        "runner.val_check_interval=-1",
        "runner.save_interval=-1",
        "cluster.cpu_slots=1",
        f"cluster.num_nodes={nodes}",
        f"cluster.ray_address={address(0)}:{PORT}",
        "cluster.component_placement=all",
        "rollout.pipeline_stage_num=1",
        f"env.train.total_num_envs={nodes * ENVS}",
        f"env.train.max_steps_per_rollout_epoch={2 * CHUNKS}",
        "env.train.max_episode_steps=20",
        "actor.model.num_action_chunks=2",
        f"algorithm.rollout_epoch={EPOCHS}",
        "algorithm.update_epoch=1",
        f"actor.global_batch_size={samples // 2}",
        "actor.micro_batch_size=60",
        "actor.model.hidden_dim=2",  # gradients and weights are small beside observations
        "actor.fsdp_config.sharding_strategy=no_shard",
        *(
            f"{key}={numbers}"
            for key in (
                "env.train.init_params.obs_dim",
                "env.eval.init_params.obs_dim",
                "actor.model.obs_dim",
            )
        ),
    ]


def address(node: int) -> str:
    """IP address of a node."""
    return f"10.77.0.{node + 1}"


def measure(nodes: int, folder: Path) -> dict[str, Any]:
    """A training on so many nodes.

    Raises:
        OSError: this machine allows no namespaces.
    """
    machines: list[Machine] = []
    try:
        for index in range(nodes):
            inside = machines[0] if machines else None
            machines.append(Machine(address(index), folder / f"node{index}", inside))
        head = machines[0]
        head.plug(*machines[1:])
        for machine in machines:
            machine.start_ray(None if machine is head else head)
        run, peaks = folder / "run", folder / "peaks.json"
        head.start(sys.executable, str(Path(__file__)), "--watch", str(peaks))
        command = [str(Path(sys.executable).parent / "rlinf"), "train", "toy_ppo_mlp"]
        training = head.start(*command, *settings(nodes, run))
        sent = _sent_at_each_iteration(machines, training, run / "metrics.jsonl")
        return {
            "observations": nodes * ENVS * CHUNKS * EPOCHS * ROW,
            "between_nodes": (sent[-1] - sent[0]) / (len(sent) - 1),
            "object_store_peak": max(json.loads(peaks.read_text()).values()),
        }
    finally:
        for machine in reversed(machines):
            machine.close()


def _sent_at_each_iteration(
    machines: Sequence[Machine], training: subprocess.Popen[str], metrics: Path
) -> list[int]:
    """Bytes that all machines had sent when each iteration was logged."""
    sent: list[int] = []
    while len(sent) < STEPS:
        assert training.poll() is None or metrics.exists(), machines[0].log.read_text()
        done = len(metrics.read_text().splitlines()) if metrics.exists() else 0
        if done > len(sent):
            sent += [sum(machine.sent() for machine in machines)] * (done - len(sent))
        assert training.poll() in (None, 0), machines[0].log.read_text()
        time.sleep(POLL_S)
    return sent


def watch(out: Path) -> None:
    """Asks every node again and again how full its object store is; runs on one of them."""
    import ray
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc

    ray.init(address=f"{address(0)}:{PORT}", log_to_driver=False)
    request = node_manager_pb2.GetNodeStatsRequest(  # type: ignore[attr-defined]
        include_memory_info=False
    )
    peaks: dict[str, int] = {}
    while True:
        for node in ray.nodes():
            where = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
            stub = node_manager_pb2_grpc.NodeManagerServiceStub(init_grpc_channel(where))
            used = stub.GetNodeStats(request).store_stats.object_store_bytes_used
            peaks[where] = max(peaks.get(where, 0), used)
        out.with_suffix(".new").write_text(json.dumps(peaks))
        out.with_suffix(".new").rename(out)
        time.sleep(POLL_S)


def misplaced(minibatch: int, nodes: int) -> float:
    """Share of a minibatch's samples that are computed on another node than theirs, expected.

    Each sample's node is drawn at random; what a node has beyond its n-th part goes elsewhere. The
    surplus of one node is half the mean deviation of a binomial number, sigma / sqrt(2 pi).
    """
    sigma = math.sqrt(minibatch * (nodes - 1)) / nodes
    return nodes * sigma / math.sqrt(2 * math.pi) / minibatch


def on_paper(nodes: int = 8, gpus: int = 8) -> dict[str, Any]:
    """An iteration of a shipped configuration on several nodes, computed."""
    host = Host(Node(gpus, 128), 2_000_000_000_000)
    sizes = [
        f"cluster.num_nodes={nodes}",
        f"cluster.accelerators_per_node={gpus}",
        f"env.train.total_num_envs={64 * nodes}",
        f"env.eval.total_num_envs={64 * nodes}",
    ]
    found = load(ON_PAPER, [*sizes, "runner.logger.log_path=/tmp/scale"], host)
    config, batch = found.config, found.plan.batch
    row = config.actor.model.observation_bytes(config.env.train.init_params.spaces())
    observations = batch.samples * row
    far = misplaced(config.actor.global_batch_size, nodes)
    return {
        "configuration": ON_PAPER,
        "overrides": sizes,
        "observations": observations,
        "between_nodes": observations * config.algorithm.update_epoch * far,
        "between_nodes_if_every_node_fetched_all": observations * (nodes - 1),
        "object_store_peak": KEPT * observations / nodes,
        "object_store_peak_if_every_node_fetched_all": KEPT * observations,
    }


def show(measured: dict[int, dict[str, Any]], paper: dict[str, Any]) -> Table:
    """The numbers in MB."""
    table = Table("MB per iteration", "observations", "between nodes", "peak of a node's store")
    for nodes, found in measured.items():
        values = (found["observations"], found["between_nodes"], found["object_store_peak"])
        table.add_row(f"{nodes} nodes", *(f"{value / 1e6:,.1f}" for value in values))
    for suffix, what in (("", "8 x 8 on paper"), ("_if_every_node_fetched_all", "... all to all")):
        values = (
            paper["observations"],
            paper[f"between_nodes{suffix}"],
            paper[f"object_store_peak{suffix}"],
        )
        table.add_row(what, *(f"{value / 1e6:,.0f}" for value in values))
    return table


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES)
    parser.add_argument("--write", action="store_true", help="write the numbers into results/")
    parser.add_argument("--watch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch is not None:
        watch(options.watch)
    measured = {}
    for nodes in options.nodes:
        with tempfile.TemporaryDirectory() as folder:
            measured[nodes] = measure(nodes, Path(folder))
    paper = on_paper()
    Console().print(show(measured, paper))
    if options.write:
        numbers = {"nodes": measured, "on_paper": paper, "bytes_of_a_row": ROW, "iterations": STEPS}
        Console().print(f"{record.write('scale', record.record(numbers))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
