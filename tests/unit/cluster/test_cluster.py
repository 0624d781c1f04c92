from __future__ import annotations

import pytest
import ray

from rlinf.cluster.cluster import START_ATTEMPTS, start
from rlinf.config.schema import ClusterConfig
from rlinf.errors import UserError, WorkerDied


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
    with pytest.raises(WorkerDied, match="this machine is overloaded"), start(ClusterConfig()):
        pass
    assert tried == ["local"] * START_ATTEMPTS


def test_a_cluster_that_cannot_be_reached_is_an_error_of_the_user(monkeypatch):
    tried = start_with(monkeypatch, ConnectionError("ray client connection timeout"))
    config = ClusterConfig(ray_address="10.0.0.1:6379")
    told = r"cluster.ray_address = 10\.0\.0\.1:6379.*timeout"
    with pytest.raises(UserError, match=told), start(config):
        pass
    assert tried == ["10.0.0.1:6379"]
