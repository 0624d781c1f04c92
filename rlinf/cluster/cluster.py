"""Starting and stopping Ray."""

from __future__ import annotations

import logging
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)

from rlinf.cluster.nodes import Cluster
from rlinf.cluster.placement import Node
from rlinf.config.schema import Config
from rlinf.errors import UserError, WorkerDied
from rlinf.signals import kept_from_children

_log = logging.getLogger(__name__)
START_ATTEMPTS = 3
KNOCK_S = 10.0  # longest wait for an answer of the head node's machine


@contextmanager
def start(config: Config, nodes: Sequence[Node]) -> Iterator[Cluster]:
    """A running Ray, connected or started here; what was started is stopped again.

    Args:
        nodes: what each node has to offer, by node rank.

    Raises:
        UserError: if the cluster cannot be reached, has too few nodes, or one of them cannot run
            workers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # workers are what the machine is for
    # Otherwise processes start one after the other, at a second or two each.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", str(os.cpu_count() or 1))
    if config.cluster.ray_port is not None:
        os.environ["RAY_GCS_SERVER_PORT"] = str(config.cluster.ray_port)
    if config.cluster.ray_address is not None:
        _knock(config.cluster.ray_address)
        # As `ray start` does: where this machine has a token of Ray, the cluster asks for it.
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    with kept_from_children():
        _init(config.cluster.ray_address)
    try:
        yield Cluster(config, nodes)
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Refuses an address where nobody listens; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdigit()) or "/" in host:
        return  # `auto`, or another form that Ray looks up
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK_S).close()
    except OSError as error:
        raise UserError(
            f"cluster.ray_address = {address}: there is no Ray cluster: {error}",
            f"start its head: ray start --head --port={port}; or leave cluster.ray_address out to "
            "start Ray on this machine",
        ) from error


@contextmanager
def _commands_a_raylet_can_read() -> Iterator[None]:
    """Ray writes the commands of its workers as Windows wants them, and its raylet reads them as
    POSIX does. The two differ in quotes and backslashes: a raylet of such a path never starts.
    """
    if not set(sys.executable) & set("'\"\\"):
        yield
        return
    original = subprocess.list2cmdline
    subprocess.list2cmdline = lambda seq: shlex.join(map(os.fsdecode, seq))
    try:
        yield
    finally:
        subprocess.list2cmdline = original


def _init(address: str | None) -> None:
    """Connects to Ray, or starts it here, with a few more tries where the machine is too busy."""
    for attempt in range(START_ATTEMPTS):
        try:
            with _commands_a_raylet_can_read():
                ray.init(
                    address=address or "local",
                    # Ours need no CPU slots; for each that Ray has, it would start an idle process.
                    num_cpus=None if address else 0,
                    include_dashboard=False,
                    log_to_driver=False,  # workers write their own log files
                    logging_level=logging.ERROR,
                )
            return
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"Ray does not start (cluster.ray_address = {address}): {error}",
                "Check the address, and that ~/.ray/auth_token is the same everywhere. Without "
                "cluster.ray_address Ray starts here.",
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
