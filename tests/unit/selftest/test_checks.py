"""What of the self-test runs on a CPU, and what a GPU's rules about devices allow of the rest."""

from __future__ import annotations

import inspect
import multiprocessing
from concurrent.futures import Executor
from pathlib import Path

import pytest

from rlinf.registry import imported, renderers
from rlinf.selftest import run as command
from rlinf.selftest.catalog import catalog
from rlinf.selftest.check import CheckResult, Failed, Scope
from rlinf.selftest.checks import parity, simulator, weights
from rlinf.selftest.models import ModelName
from rlinf.workers import device_memory
from tests.golden import ROOT
from tests.unit.workers.stand_in import GPU, process_with_gpu

ONCE = (
    *("devices", "arithmetic cpu", "golden", "simulator toy", "weights", "all-reduce gloo"),
    *("log-probs openvla fp32", "log-probs gr00t", "training lora", "speed openvla_oft"),
    "kept features gr00t",
)
"""One of each kind: the same code with other models is tested elsewhere."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CheckResult]:
    """One run for all tests."""
    patched = pytest.MonkeyPatch()
    patched.setenv(parity.GOLDEN, str(ROOT))
    checks = [check for check in catalog(0) if not check.full and check.gpu is None]
    chosen = command.chosen(checks, ONCE)
    found = command.run(chosen, 0, False, tmp_path_factory.mktemp("selftest"), print)
    patched.undo()
    return {result.name: result for result in found}


def test_what_runs_on_a_cpu_passes(results: dict[str, CheckResult]):
    recorded = ROOT.is_dir()
    for name, result in results.items():
        absent = "between" in name or (name.startswith("golden") and not recorded)
        wanted = ("no such device", "not installed") if absent else ("pass",)
        assert result.status in wanted, f"{name}: {result.text}"


def test_the_numbers_say_what_was_measured(results: dict[str, CheckResult]):
    speed = results["speed openvla_oft"].numbers
    assert [row["batch"] for row in speed["batches"]] == [1, 2]
    for row in speed["batches"]:
        # Twice the rows are twice the operations, and a backward pass is more than a forward one.
        assert row["act_tflop"] == pytest.approx(row["batch"] * speed["batches"][0]["act_tflop"])
        assert row["evaluate_tflop"] > 2 * row["act_tflop"]
        seconds = row["act_tflop"] / row["act_mfu"] / speed["peak_tflop_per_second"]
        assert 1e3 * seconds == pytest.approx(row["act_ms"])
    assert results["kept features gr00t"].numbers["times_fewer_operations"] > 1
    assert results["training lora"].numbers["logprob_mismatch"] < 1e-3
    assert results["all-reduce gloo"].numbers["ranks"] == 2


@pytest.mark.parametrize("gpus", [0, 8])
def test_every_check_has_its_own_name_and_a_function_that_takes_its_options(gpus: int):
    checks = catalog(gpus)
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    for check in checks:
        inspect.signature(imported(check.run)).bind(Scope(0, False, ""), **check.options)
    drawn = [name for name in names if name.startswith("renderer") and "gpu" in name]
    assert len(drawn) == max(1, gpus) * len(renderers())


def test_a_simulator_that_breaks_a_rule_is_found(monkeypatch: pytest.MonkeyPatch):
    toy = imported("rlinf.envs.toy.reach:ToyReach")
    observe, reset = toy.observe, toy.reset
    monkeypatch.setattr(toy, "reset", lambda self, ids, starts: reset(self, *_all(self, starts)))
    with pytest.raises(Failed, match="a reset of one env changes others"):
        simulator.toy(Scope(0, False, ""))
    monkeypatch.setattr(toy, "reset", reset)
    first: list[object] = []

    def stale(self: object, ids: object) -> object:
        first.append(observe(self, ids))
        return first[0]

    monkeypatch.setattr(toy, "observe", stale)
    with pytest.raises(Failed, match="steps move nothing"):
        simulator.toy(Scope(0, False, ""))


def _all(made: object, starts: list[object]) -> tuple[object, list[object]]:
    import numpy as np

    rows = made.num_envs  # type: ignore[attr-defined]
    return np.arange(rows), [starts[0]] * rows


def test_weights_that_another_process_shares_are_compared(monkeypatch: pytest.MonkeyPatch):
    # A handle stands in for one of CUDA's: the numbers themselves, or wrong ones.
    monkeypatch.setattr(device_memory, "attach", lambda handle: handle)
    monkeypatch.setattr(device_memory, "export", lambda tensor: tensor.clone())
    monkeypatch.setattr(weights, "_SHARED", {False: 1000, True: 2000})
    assert weights.within_a_gpu(Scope(0, False, "")).numbers["gb_per_second"] > 0
    monkeypatch.setattr(device_memory, "export", lambda tensor: tensor + 1)
    with pytest.raises(Failed, match="other numbers arrived"):
        weights.within_a_gpu(Scope(0, False, ""))
    assert not multiprocessing.active_children()  # one that stays would keep the terminal


class StandIn(Scope):
    """On the stand-in for a GPU."""

    @property
    def device(self) -> str:
        return GPU.type


@pytest.mark.parametrize("model", ["openvla", "openvla_oft", "gr00t"])
def test_a_gpu_s_log_probs_are_compared_with_a_cpu_s(
    gpu: Executor, model: ModelName, tmp_path: Path
):
    assert gpu.submit(_differ_by, model, tmp_path).result() < 1e-3


def _differ_by(model: ModelName, folder: Path) -> float:
    found = parity.across_devices(StandIn(0, False, str(folder)), model)
    return float(found.numbers["largest_difference"])


@pytest.fixture(scope="module")
def gpu():
    with process_with_gpu() as process:
        yield process
