"""What is repaired how often. The workers are stand-ins that only note what is asked of them: real
ones need Ray, and tests/e2e/test_toy_runs.py kills them."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from rlinf.config.load import load
from rlinf.errors import OutOfMemory, RayFailed, WorkerFailed
from rlinf.runners.recovery import Recovery


class Workers:
    """Notes the sizes that new actor ranks are given."""

    ray_failed = False

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def use_micro_batches(self, size: int) -> None:
        self.sizes.append(size)

    def interrupt(self) -> None: ...

    def repair(self, simulators_failed: bool) -> dict[str, int]:
        return {"env": 0, "rollout": 0, "actor": 2}


@pytest.fixture
def recovery(tmp_path) -> Recovery:
    loaded = load("toy_ppo_mlp", [f"runner.logger.log_path={tmp_path}"])
    console = SimpleNamespace(warn=print, note=print)
    run: Any = SimpleNamespace(console=console, phase=lambda name: nullcontext())
    saver: Any = SimpleNamespace(step=0, rewind=lambda actor_lost: None)
    collector: Any = SimpleNamespace(drop=lambda: None)
    workers: Any = Workers()
    return Recovery(loaded.config, loaded.plan, run, workers, saver, collector)


def failing(*errors: Exception) -> Any:
    """Work that raises one error after the other and then succeeds."""
    left = list(errors)

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return work


def test_ranks_that_ran_out_of_memory_are_replaced_once_by_ones_that_take_less(recovery: Recovery):
    lacking = OutOfMemory("not enough", "take less", smaller=4)
    assert recovery.retry(failing(lacking)) == "done"
    assert recovery.workers.sizes == [4]
    assert recovery.faults({}) == {"faults/out_of_memory": 1, "faults/actor_restarts": 2}
    with pytest.raises(OutOfMemory, match="take less"):
        recovery.retry(failing(OutOfMemory("not enough", "take less", smaller=2)))


def test_where_ray_ended_it_starts_again_and_what_arrived_is_kept_before(recovery: Recovery):
    order: list[str] = []

    def restart() -> dict[str, int]:
        order.append("restart")
        workers.ray_failed = False
        return {"ray": 1, "rollout": 1, "env": 2, "actor": 1}

    workers: Any = recovery.workers
    workers.ray_failed, workers.restart_ray = True, restart
    recovery.collector.drop = lambda: order.append("drop")
    recovery.saver.take_over = lambda: order.append("take over")
    recovery.saver.rewind = lambda actor_lost: order.append(f"rewind {actor_lost}")
    assert recovery.retry(failing(RayFailed("raylet ended"))) == "done"
    assert order == ["drop", "take over", "restart", "rewind True"]
    assert recovery.faults({})["faults/ray_restarts"] == 1


def test_where_less_does_not_help_nothing_is_tried_again(recovery: Recovery):
    with pytest.raises(OutOfMemory):
        recovery.retry(failing(OutOfMemory("not enough", "take less")))
    assert recovery.workers.sizes == [] and recovery.faults({}) == {}


def test_failures_in_a_row_are_bounded_and_a_success_forgives_them(recovery: Recovery):
    few = [WorkerFailed("gone")] * recovery.limit
    assert recovery.retry(failing(*few)) == "done"
    assert recovery.retry(failing(*few)) == "done"
    with pytest.raises(WorkerFailed):
        recovery.retry(failing(*few, WorkerFailed("gone")))
