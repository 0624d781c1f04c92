"""A Ray cluster that was there before: whether one answers at its address, and lets us in."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from math import ceil
from typing import Literal

from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)
from ray._raylet import parse_address  # type: ignore[attr-defined]

from rlinf.cluster import token
from rlinf.errors import UserError
from rlinf.safe_path import without_working_folder

KNOCK_S = 10.0  # longest wait for an answer of the head node's machine
PROBE_S = 15.0  # and for one of Ray
Answer = Literal["welcome", "refused", "silent"]

# A process of its own, as Ray's client in this one would try for minutes, deaf to signals.
_PROBE = """
import signal, sys
signal.alarm(int(sys.argv[2]))  # also where the launcher has ended
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError, RpcError
try:
    GcsClient(address=sys.argv[1]).internal_kv_get(b"session_name", b"session", timeout=10)
except AuthenticationError:
    sys.exit(3)
except RpcError:
    sys.exit(4)
"""
_ANSWERS: dict[int, Answer] = {0: "welcome", 3: "refused", 4: "silent"}


def prepare(address: str) -> None:
    """Before this process connects to a cluster.

    Raises:
        UserError: no Ray is there, or it would not understand our token.
    """
    path = token.file()
    if path is not None:
        token.make_private(path)
    if "://" not in address and (parsed := parse_address(address)) is not None:
        host, port = parsed
        _knock(address, host, int(port))
        asked = os.environ.get(token.MODE, "").lower()
        has_token = token.is_there()
        without = probe(address, "disabled")
        sends = without == "refused" and has_token and asked != "disabled"
        with_token = probe(address, "token") if sends else None
        problem = problem_of(without, with_token, asked, has_token)
        if problem is not None:
            raise UserError(f"cluster.ray_address = {address}: {problem[0]}", problem[1])
    # As `ray start` does: where this machine has a token of Ray, the cluster asks for it.
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def problem_of(
    without: Answer, with_token: Answer | None, asked: str, has_token: bool
) -> tuple[str, str] | None:
    """What is wrong with a cluster for this process, and what to do about it.

    Args:
        without: its answer to one that sends no token.
        with_token: its answer to our token, if we sent it.
        asked: `RAY_AUTH_MODE`, empty where it is not set.
        has_token: whether there is a token here.
    """
    again = (
        "on every machine: ray stop, export RAY_AUTH_MODE=token, and ray start as before, all with "
        "the same ~/.ray/auth_token"
    )
    if without == "silent":
        return (
            f"what listens there is no Ray, or a Ray that did not answer within {PROBE_S:.0f} s",
            "name the port of `ray start --head`, or leave cluster.ray_address out to start Ray on "
            "this machine",
        )
    if without == "welcome":
        if asked == "token" or (has_token and asked != "disabled"):
            return (
                "the cluster was started without a token, and this machine has one "
                f"({token.file()}): its workers would not understand this run",
                f"{again}. Where all who reach the network may run code on these machines, "
                "export RAY_AUTH_MODE=disabled instead, for this run",
            )
        return None
    if not has_token:
        return (
            "the cluster asks for a token, and this machine has none",
            f"copy {token.file()} from the machine of its head, with mode 0600",
        )
    if asked == "disabled":
        return "the cluster asks for a token, and RAY_AUTH_MODE is disabled", "unset RAY_AUTH_MODE"
    if with_token != "welcome":
        return "the cluster has another token than this machine", again
    return None


def probe(address: str, mode: str) -> Answer:
    """How a cluster answers a process with this `RAY_AUTH_MODE`."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _PROBE, address, str(ceil(PROBE_S) + 1)],
            env={**without_working_folder(os.environ), token.MODE: mode},
            capture_output=True,
            timeout=PROBE_S,
        )
    except subprocess.TimeoutExpired:
        return "silent"
    assert asked.returncode in _ANSWERS, asked.stderr.decode(errors="replace")
    return _ANSWERS[asked.returncode]


def _knock(address: str, host: str, port: int) -> None:
    """Refuses an address where nothing listens."""
    try:
        socket.create_connection((host, port), timeout=KNOCK_S).close()
    except OSError as error:
        raise UserError(
            f"cluster.ray_address = {address}: there is no Ray cluster: {error}",
            f"start its head: ray start --head --port={port}; or leave cluster.ray_address out to "
            "start Ray on this machine",
        ) from error
