"""A Ray that does not start, or is not where it was said to be."""

from __future__ import annotations

import socket

import pytest
import ray

from rlinf.cluster.cluster import START_ATTEMPTS, start
from rlinf.config.load import load
from rlinf.errors import UserError, WorkerDied


def test_an_address_where_no_cluster_is_ends_with_what_to_do_before_ray_tries_for_minutes(
    monkeypatch: pytest.MonkeyPatch,
):
    tried = start_with(monkeypatch, ConnectionError("after minutes"))
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        loaded = load("toy_ppo_mlp", [f"cluster.ray_address={address}"])
        with (
            pytest.raises(UserError, match=f"ray_address = {address}.*\n.*ray start --head"),
            start(loaded.config, loaded.plan.nodes),
        ):
            pass
    assert not tried


def start_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[str | None]:
    """Ray's start fails with `error`; the list fills with the addresses that were tried."""
    tried: list[str | None] = []

    def fail(address: str | None = None, **_: object) -> None:
        tried.append(address)
        raise error

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return tried


def test_a_machine_too_busy_for_ray_is_given_up_after_a_few_attempts(monkeypatch):
    tried = start_with(monkeypatch, Exception("The current node timed out during startup."))
    loaded = load("toy_ppo_mlp", [])
    told = pytest.raises(WorkerDied, match="this machine is overloaded")
    with told, start(loaded.config, loaded.plan.nodes):
        pass
    assert tried == ["local"] * START_ATTEMPTS


def test_a_cluster_that_cannot_be_reached_is_an_error_of_the_user(monkeypatch):
    tried = start_with(monkeypatch, ConnectionError("ray client connection timeout"))
    with socket.socket() as other:  # somebody listens, but it is not Ray
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        loaded = load("toy_ppo_mlp", [f"cluster.ray_address={address}"])
        told = pytest.raises(UserError, match=f"cluster.ray_address = {address}.*timeout")
        with told, start(loaded.config, loaded.plan.nodes):
            pass
    assert tried == [address]
