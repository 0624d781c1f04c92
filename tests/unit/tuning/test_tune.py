from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from rlinf.config.load import Loaded, load
from rlinf.config.problems import Problem
from rlinf.errors import UserError
from rlinf.tuning import candidates, tune
from rlinf.tuning.candidates import Choice
from rlinf.tuning.throughput import Measured
from tests.e2e.runs import HANGS_S, RLINF


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    return ["cluster.cpu_slots=2", f"runner.logger.log_path={tmp_path}/run"]


def measured_as(chunk_step: float) -> object:
    """A machine on which a chunk step costs so much, and two stages cost 1 s more."""

    def measure(name: str, given: Sequence[str], settings: Choice, probe: Loaded) -> Measured:
        size = candidates.size_of(probe)
        staged = float(probe.config.rollout.pipeline_stage_num > 1)
        rollout = size.chunk_steps * (chunk_step + 0.01 * size.envs + staged)
        return Measured(size, size.chunk_steps * size.envs, rollout, 0.001 * size.samples, 0.1)

    return measure


def test_the_fastest_settings_are_written_as_a_configuration_that_runs(
    tmp_path: Path, given: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
):
    # A chunk step costs much, whatever it does: one stage, and as many sub-envs as there may be.
    monkeypatch.setattr(tune, "_measure", measured_as(chunk_step=5.0))
    output = tmp_path / "faster.yaml"
    assert tune.tune("quickstart", given, output) == 0
    tuned, present = load(str(output), given), load("quickstart", given)
    assert tuned.config.rollout.pipeline_stage_num == 1
    assert tuned.config.env.train.total_num_envs == 32
    assert tuned.plan.batch.samples == present.plan.batch.samples
    said = capfd.readouterr().out
    assert "1: rollout.pipeline_stage_num=1 env.train.total_num_envs=32" in said
    assert f"next: rlinf train {output}" in said.replace("\n", "")


def test_nothing_is_written_where_the_present_settings_are_the_fastest(
    tmp_path: Path, given: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
):
    monkeypatch.setattr(tune, "_measure", measured_as(chunk_step=0.0))
    given = [*given, "rollout.pipeline_stage_num=1"]
    assert tune.tune("quickstart", given, tmp_path / "faster.yaml") == 0
    assert not (tmp_path / "faster.yaml").exists()
    assert "nothing is written" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "output", "words"),
    [
        (["runner.mode=async"], "faster.yaml", "runner.mode = async"),
        ([], "there.yaml", "there.yaml exists"),
        ([], "faster.txt", "ends in .yaml"),
        ([], "missing/faster.yaml", "cannot be written: No such file or directory"),
        ([], "there.yaml/faster.yaml", "cannot be written: Not a directory"),
    ],
)
def test_what_cannot_be_tuned_or_written_is_said_before_anything_is_measured(
    tmp_path: Path,
    given: list[str],
    overrides: list[str],
    output: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "there.yaml").write_text("")
    monkeypatch.setattr(tune, "_measure", lambda *_: pytest.fail("it measured"))
    with pytest.raises(UserError) as error:
        tune.tune("quickstart", [*given, *overrides], tmp_path / output)
    assert words in f"{error.value.message} {error.value.fix}"


def test_a_file_of_a_users_own_configuration_stays_beside_it(tmp_path: Path, given: list[str]):
    own = tmp_path / "mine.yaml"
    own.write_text("defaults: [quickstart, _self_]\n")
    with pytest.raises(UserError, match=r"the file refers to mine\.yaml"):
        tune.tune(str(own), given, tmp_path / "elsewhere" / "faster.yaml")


def test_an_iteration_is_measured_in_a_process_of_its_own(given: list[str]):
    """The toy on Ray, for two iterations."""
    settings = next(iter(candidates.probe_sizes(load("toy_ppo_mlp", given))))
    probe = candidates.loaded_with("toy_ppo_mlp", given, settings)
    assert probe is not None
    found = tune._measure("toy_ppo_mlp", given, settings, probe)
    assert found.rollout > 0 and found.update > 0 and found.rest > 0
    assert (
        0 < found.env_steps <= probe.config.env.train.max_steps_per_rollout_epoch * found.size.envs
    )


def test_a_measurement_that_fails_says_why(given: list[str]):
    probe = load("toy_ppo_mlp", given)
    with pytest.raises(
        UserError, match=r"ended with exit code 2: actor\.micro_batch_size = 7 .* must divide"
    ):
        tune._measure("toy_ppo_mlp", given, {"actor.micro_batch_size": 7}, probe)


def test_what_this_machine_lacks_is_said_before_anything_is_measured(
    tmp_path: Path, given: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tune, "_measure", lambda *_: pytest.fail("it measured"))
    monkeypatch.setattr(tune, "lacking", lambda config: [Problem("no model there", "fetch it")])
    with pytest.raises(UserError, match="no model there") as error:
        tune.tune("toy_ppo_mlp", given, tmp_path / "faster.yaml")
    assert error.value.fix == "fetch it"


def test_a_configuration_of_which_nothing_can_be_measured_is_an_error_of_the_users(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(candidates, "probe_sizes", lambda loaded: [])
    with pytest.raises(UserError, match="can be measured here"):
        tune.tune("toy_ppo_mlp", given, tmp_path / "faster.yaml")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_measurement_outlives_its_command(given: list[str], tmp_path: Path, number: int):
    output = tmp_path / "faster.yaml"
    command = [str(RLINF), "tune", "toy_ppo_mlp", *given, "--output", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    measurement = _child_of(process.pid)
    process.send_signal(number)
    said, _ = process.communicate(timeout=HANGS_S)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    measurement.wait(HANGS_S)
    assert not output.exists()
    if number != signal.SIGKILL:
        assert f"stopped by {signal.Signals(number).name}; nothing is written" in said


def _child_of(process: int) -> psutil.Process:
    ends = time.monotonic() + HANGS_S
    while time.monotonic() < ends:
        for child in psutil.Process(process).children():
            if "rlinf.tuning.probe" in child.cmdline():
                return child
        time.sleep(0.05)
    raise TimeoutError("it measures nothing")
