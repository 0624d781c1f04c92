"""What a worker process runs with: interpreter and environment variables. Pure, no Ray."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rlinf.config.placement import ProcessPlacement, parse_ranks
from rlinf.config.schema import NodeEnvironment, NodeGroup
from rlinf.safe_path import SAFE

_KEEP_MEMORY = {
    # Tensors come and go by the megabyte. glibc would give their pages back each time, and faulting
    # them in again is a sixth of the CPU time of a small update.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the largest value it takes
    "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
    "MALLOC_TOP_PAD_": str(16 * 2**20),
}

_KEEP_DEVICES = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"
"""With 0, Ray leaves `CUDA_VISIBLE_DEVICES` as the node has it to a process that asks it for none:
such a process chooses among these devices itself."""

_SECRET = re.compile("KEY|TOKEN|PASS|SECRET|CREDENTIAL|AUTH", re.IGNORECASE)
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}
"""How the OpenMP threads of a process wait for work; to be said before torch is imported.

One that spins on takes its core from the simulators that share it. One that sleeps at once has to
be woken for every operation of a small network, which then takes twice as long. GNU's library, the
one PyTorch comes with on Linux, can do the first for some microseconds and then the second.
"""

BEFORE_RAY = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
"""To be said before Ray is imported: under `uv run` it would copy the working folder, whatever lies
in it, to every worker.
"""


def runtime_environment(
    placement: ProcessPlacement,
    threads: int,
    groups: Sequence[NodeGroup],
    launcher: str = sys.executable,
) -> dict[str, Any]:
    """Ray's `runtime_env` of a worker process.

    Args:
        threads: that the process may use.
        groups: what the configuration says of the node groups; it wins over our own variables.
        launcher: the launcher's interpreter.
    """
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        **WAITING,
        **_KEEP_MEMORY,
        **SAFE,
        **variables_of(placement, groups),
        _KEEP_DEVICES: "0",
    }
    python = interpreter_of(placement, groups)
    if python is None and shlex.quote(launcher) != launcher:
        python = launcher  # Ray hands its own to a shell without quotes
    return {"env_vars": variables} | ({"py_executable": shlex.quote(python)} if python else {})


def devices_of(placement: ProcessPlacement) -> tuple[int, ...]:
    """The GPUs of a process, by their place among those that its node shows."""
    return placement.resources if placement.kind == "accelerator" else ()


def torch_device(placement: ProcessPlacement) -> str:
    """Where the launcher computes in the place of a process: it sees all devices of its node."""
    return f"cuda:{placement.resources[0]}" if placement.kind == "accelerator" else "cpu"


def split_secrets(variables: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The variables that a process may start with, and those that go to it alone.

    Ray writes the first into its log files, which every user of the machine can read.
    """
    secret = {name for name in variables if _SECRET.search(name)}
    return (
        {name: value for name, value in variables.items() if name not in secret},
        {name: value for name, value in variables.items() if name in secret},
    )


def interpreter_of(placement: ProcessPlacement, groups: Sequence[NodeGroup]) -> str | None:
    """The Python of a process; None where it is the one that Ray was started with."""
    found = [own.python_interpreter_path for own in _settings_of(placement, groups)]
    return next((path for path in reversed(found) if path), None)


def variables_of(placement: ProcessPlacement, groups: Sequence[NodeGroup]) -> dict[str, str]:
    """The environment variables that the configuration gives a process."""
    pairs = [pair for own in _settings_of(placement, groups) for pair in own.env_vars.items()]
    return {name: value.get_secret_value() for name, value in pairs}


def _settings_of(
    placement: ProcessPlacement, groups: Sequence[NodeGroup]
) -> Iterator[NodeEnvironment]:
    """What is said of the node of a process in its group; where two differ the later one counts."""
    for group in groups:
        if group.label == placement.node_group:
            for own in group.env_configs:
                if own.node_ranks is None or placement.node in ranks_of(own, group.label):
                    yield own


def ranks_of(own: NodeEnvironment, label: str) -> list[int]:
    """The node ranks that are named; raises UserError where they cannot be read."""
    key = f"cluster.node_groups.{label}.env_configs.node_ranks"
    return parse_ranks(str(own.node_ranks), key)
