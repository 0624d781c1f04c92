"""Starting and stopping Ray, and what it knows of the machines."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from rlinf.cluster.placement import ProcessPlacement
from rlinf.config.schema import ClusterConfig
from rlinf.errors import UserError, WorkerDied

_log = logging.getLogger(__name__)
START_ATTEMPTS = 3
_KEEP_MEMORY = {
    # Tensors come and go by the megabyte. glibc would give their pages back each time, and faulting
    # them in again is a sixth of the CPU time of a small update.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the largest value it takes
    "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
    "MALLOC_TOP_PAD_": str(16 * 2**20),
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The machines of a run."""

    node_ids: list[str]  # Ray's id of each node rank; rank 0 is the launcher's machine
    addresses: list[str]  # IP address of each node rank


@contextmanager
def start(config: ClusterConfig) -> Iterator[Cluster]:
    """A running Ray, connected or started here; what was started is stopped again.

    Raises:
        UserError: if the cluster cannot be reached or has too few nodes.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # workers are what the machine is for
    if config.ray_port is not None:
        os.environ["RAY_GCS_SERVER_PORT"] = str(config.ray_port)
    _init(config.ray_address)
    try:
        yield _describe(config.num_nodes, config.accelerators_per_node)
    finally:
        ray.shutdown()


def _init(address: str | None) -> None:
    """Connects to Ray, or starts it here, with a few more tries where the machine is too busy."""
    for attempt in range(START_ATTEMPTS):
        try:
            ray.init(
                address=address or "local",
                # Ours need no CPU slots of Ray; for each it has, it would start an idle process.
                num_cpus=None if address else 0,
                include_dashboard=False,
                log_to_driver=False,  # workers write their own log files
                logging_level=logging.ERROR,
            )
            return
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"Ray does not start (cluster.ray_address = {address}): {error}",
                "Check the address, or leave cluster.ray_address out to start Ray on this machine.",
            ) from error
        except Exception as error:  # Ray raises this very class when its daemons take over 30 s
            if "timed out during startup" not in str(error):
                raise
            ray.shutdown()
            _log.warning("Ray took too long to start, attempt %d", attempt + 1)
    raise WorkerDied(
        f"Ray did not start in {START_ATTEMPTS} attempts of 30 s each: this machine is overloaded. "
        "Its log files are in /tmp/ray/session_latest/logs."
    )


def environment(placement: ProcessPlacement, threads: int) -> dict[str, str]:
    """Environment variables of a worker process."""
    uses_gpus = placement.kind == "accelerator"
    devices = ",".join(str(resource) for resource in placement.resources) if uses_gpus else ""
    return {
        "CUDA_VISIBLE_DEVICES": devices,
        "OMP_NUM_THREADS": str(threads),
        # Processes share the cores: a thread that spins while it waits steals from the others.
        "OMP_WAIT_POLICY": "PASSIVE",
        "MKL_NUM_THREADS": str(threads),
        **_KEEP_MEMORY,
    }


def _describe(needed: int, accelerators: int | None) -> Cluster:
    """The nodes: this machine first, the others by address, not in the order they joined."""
    here = ray.get_runtime_context().get_node_id()
    alive = [node for node in ray.nodes() if node["Alive"]]
    if len(alive) < needed:
        raise UserError(
            f"cluster.num_nodes = {needed}: the Ray cluster has {len(alive)} nodes.",
            "Start Ray on the others: ray start --address=<address of the head node>.",
        )
    alive.sort(key=lambda node: (node["NodeID"] != here, node["NodeManagerAddress"]))
    nodes = alive[:needed]
    # Placements were made before Ray was asked; a GPU that is not there would fail much later.
    for rank, node in enumerate(nodes):
        found = int(node["Resources"].get("GPU", 0))
        if accelerators is not None and found < accelerators:
            raise UserError(
                f"cluster.accelerators_per_node = {accelerators}: node {rank} "
                f"({node['NodeManagerAddress']}) has {found}.",
                "Correct the number, or leave the key out where all nodes are like this machine.",
            )
    return Cluster(
        [node["NodeID"] for node in nodes], [node["NodeManagerAddress"] for node in nodes]
    )
