"""One worker process, started as a run starts its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlinf.cluster.group import WorkerGroup
from rlinf.cluster.nodes import Cluster
from rlinf.config.load import Loaded
from rlinf.config.process_environment import runtime_environment
from rlinf.config.schema import Component


def launch(
    loaded: Loaded,
    machines: Cluster,
    folder: Path,
    name: Component,
    worker: str,
    **arguments: Any,
) -> WorkerGroup:
    """A group of one process, where the configuration puts the first one of a component.

    Args:
        folder: for log files.
        name: the component it stands in for.
        worker: import path of its class.
        arguments: of that class, besides `log_dir`.
    """
    config, plan = loaded.config, loaded.plan
    group = WorkerGroup(
        name,
        worker,
        plan.placement[name][:1],
        lambda rank: {"log_dir": str(folder / "workers"), **arguments},
        lambda placement: runtime_environment(
            placement, plan.cores[name], config.cluster.node_groups
        ),
        machines.node_ids,
    )
    group.call("ready").result(timeout_s=config.runner.worker_timeout_s)
    return group
