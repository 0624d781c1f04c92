"""Starting and stopping Ray."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import ray

from rlinf.cluster import joining
from rlinf.cluster.local import LocalRay, SafeJob, shut_down, take_back_sigterm
from rlinf.cluster.nodes import Cluster
from rlinf.config.placement import Node
from rlinf.config.schema import Config
from rlinf.errors import UserError


@contextmanager
def start(config: Config, nodes: Sequence[Node]) -> Iterator[Cluster]:
    """A running Ray, connected or started here; what was started is stopped again.

    Args:
        nodes: what each node has to offer, by node rank.

    Raises:
        UserError: Ray does not start, or the cluster cannot be reached, has too few nodes, or one
            of them cannot run workers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # workers are what the machine is for
    # Otherwise processes start one after the other, at a second or two each.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", str(os.cpu_count() or 1))
    address = config.cluster.ray_address
    local = LocalRay(config) if address is None else None
    try:
        with _sigterm_ends_with_143():
            if local is not None:
                local.start()
            else:
                _connect(str(address))
            cluster = Cluster(config, nodes, local)
        yield cluster
    finally:
        if local is not None:
            local.stop()
        else:
            shut_down()


def _connect(address: str) -> None:
    joining.prepare(address)
    try:
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,  # workers write their own log files
            logging_level=logging.ERROR,
            job_config=SafeJob(),
        )
        take_back_sigterm()
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"cluster.ray_address = {address}: Ray does not connect: {error}",
            "check the address, and that ~/.ray/auth_token is the same everywhere; without "
            "cluster.ray_address Ray starts here",
        ) from error


@contextmanager
def _sigterm_ends_with_143() -> Iterator[None]:
    """While it starts, Ray turns SIGTERM into an exit with the signal's bare number."""
    try:
        yield
    except SystemExit as exit_:
        if exit_.code == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM) from exit_
        raise
