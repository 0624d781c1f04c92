"""What the launcher does with workers after one failed, on a Ray that only notes what is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import ray

from rlinf.cluster import health
from rlinf.cluster.group import Pending, WorkerGroup
from rlinf.runners.workers import Workers


@pytest.fixture(autouse=True)
def ray_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "check", lambda: None)


def group(name: str, ranks: int) -> WorkerGroup:
    found = WorkerGroup.__new__(WorkerGroup)
    remote = SimpleNamespace(remote=lambda *call: f"{name} answers {call[0]}")
    found.name, found.handles = name, [SimpleNamespace(call=remote, of=name) for _ in range(ranks)]
    return found


@pytest.mark.parametrize("failed", ["update", "weights"])
def test_ranks_that_wait_for_a_failed_one_are_ended_before_anything_waits_for_them(
    failed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def wait(refs: list[str], **_: Any) -> tuple[list[str], list[str]]:
        asked.extend(refs)
        return refs, []

    monkeypatch.setattr(ray, "kill", lambda handle: asked.append(f"kill {handle.of}"))
    monkeypatch.setattr(ray, "wait", wait)
    workers = Workers.__new__(Workers)
    workers.config = SimpleNamespace(runner=SimpleNamespace(worker_timeout_s=600.0))
    workers.env, workers.actor = group("env", 1), group("actor", 2)
    workers._under_way = [Pending("actor", failed, [(0, "a"), (1, "b")])]
    workers.interrupt()
    assert asked == ["kill actor", "kill actor", "env answers interrupt", "a", "b"]
    assert not workers._under_way


def test_an_actor_that_nothing_waits_for_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[Any] = []
    monkeypatch.setattr(ray, "kill", killed.append)
    monkeypatch.setattr(ray, "wait", lambda refs, **_: (refs, []))
    workers = Workers.__new__(Workers)
    workers.config = SimpleNamespace(runner=SimpleNamespace(worker_timeout_s=600.0))
    workers.env, workers.actor = group("env", 1), group("actor", 2)
    workers._under_way = [Pending("env", "rollout", [(0, "a")])]
    workers.interrupt()
    assert not killed


def test_a_wait_ends_once_what_it_is_for_has_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def wait(refs: list[str], **_: Any) -> tuple[list[str], list[str]]:
        looks.append(len(refs))
        return refs[:1], refs[1:]  # one answers at each look

    monkeypatch.setattr(ray, "wait", wait)
    monkeypatch.setattr(ray, "get", lambda ref, **_: ref)
    pending = Pending("actor", "saved", [(0, "a"), (1, "b"), (2, "c")])
    assert pending.result_unless(lambda: len(looks) == 2) is None
    assert looks == [3, 2]
    assert pending.result_unless(lambda: False) == ["a", "b", "c"]
