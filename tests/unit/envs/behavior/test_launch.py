"""What is settled before OmniGibson is imported, and what happens where it does not start."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from rlinf.envs.behavior import launch
from rlinf.errors import UserError

CLAIM = """
import sys
from pathlib import Path
from rlinf.envs.behavior.launch import claim
print(claim(Path(sys.argv[1])).name)
"""


def test_each_process_has_a_folder_of_its_own_and_the_next_run_finds_it_again(tmp_path: Path):
    def another() -> str:
        command = [sys.executable, "-c", CLAIM, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert another() == another() == "0"
    assert launch.claim(tmp_path).name == "0"
    assert another() == "1"
    assert launch.claim(tmp_path).name == "1"


def test_variables_follow_from_the_two_that_are_set(tmp_path: Path):
    variables = {
        "OMNIGIBSON_DATA_PATH": str(tmp_path),
        "ISAAC_PATH": "/isaac",
        "OMNIGIBSON_KEY_PATH": "/my/key",
        "RLINF_CACHE": str(tmp_path),
        "CUDA_VISIBLE_DEVICES": "3",
    }
    launch.settle(variables)
    expected = {
        "OMNIGIBSON_DATASET_PATH": f"{tmp_path}/behavior-1k-assets/",
        "OMNIGIBSON_ASSET_PATH": f"{tmp_path}/omnigibson-robot-assets/",
        "OMNIGIBSON_KEY_PATH": "/my/key",
        "OMNIGIBSON_HEADLESS": "1",
        "EXP_PATH": "/isaac/apps",
        "CARB_APP_PATH": "/isaac/kit",
        "OMNIGIBSON_GPU_ID": "3",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    assert {name: variables[name] for name in expected} == expected
    assert "CUDA_VISIBLE_DEVICES" not in variables  # one numbering for Vulkan and CUDA
    assert Path(variables["OMNIGIBSON_APPDATA_PATH"]).parent == tmp_path / "omnigibson"


def test_a_gpu_that_is_given_by_its_uuid_gets_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0, GPU-1f\\n1, GPU-2e\\n2, GPU-2f\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    variables = {"OMNIGIBSON_DATA_PATH": str(tmp_path), "RLINF_CACHE": str(tmp_path)}
    given = {**variables, "CUDA_VISIBLE_DEVICES": "GPU-2e"}
    launch.settle(given)
    assert (given["OMNIGIBSON_GPU_ID"], "CUDA_VISIBLE_DEVICES" in given) == ("1", False)
    for unknown in ("MIG-4d", "GPU-2", "GPU-9"):  # a part of one, two, none
        with pytest.raises(UserError, match=rf"^CUDA_VISIBLE_DEVICES = {unknown}: .* by number"):
            launch.settle({**variables, "CUDA_VISIBLE_DEVICES": unknown})
    none = {**variables, "CUDA_VISIBLE_DEVICES": "-1"}
    launch.settle(none)
    assert "OMNIGIBSON_GPU_ID" not in none


def test_a_folder_for_shaders_that_is_named_is_not_shared_between_processes(tmp_path: Path):
    """Images of OmniGibson name one for all."""
    named = str(tmp_path / "appdata")
    variables = {"OMNIGIBSON_DATA_PATH": str(tmp_path), "OMNIGIBSON_APPDATA_PATH": named}
    one, other = dict(variables), dict(variables)
    launch.settle(one)
    launch.settle(other)
    assert one["OMNIGIBSON_APPDATA_PATH"] == f"{named}/0"
    assert other["OMNIGIBSON_APPDATA_PATH"] == f"{named}/1"


def test_a_tilde_is_the_home_folder_in_what_follows_from_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    variables = {"OMNIGIBSON_DATA_PATH": "~/", "RLINF_CACHE": str(tmp_path)}
    launch.settle(variables)
    assert variables["OMNIGIBSON_DATA_PATH"] == str(tmp_path)
    assert variables["OMNIGIBSON_DATASET_PATH"] == f"{tmp_path}/behavior-1k-assets/"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "OMNIGIBSON_DATA_PATH is not set"),
        ({"OMNIGIBSON_DATA_PATH": "/gone"}, "= /gone: there is no such folder"),
    ],
)
def test_without_the_data_sets_nothing_is_imported(variables: dict[str, str], said: str):
    with pytest.raises(UserError, match=said):
        launch.settle(variables)


def test_a_start_that_fails_is_tried_again_with_longer_and_longer_waits():
    tries: list[int] = []
    waits: list[float] = []

    def make() -> str:
        tries.append(0)
        if len(tries) < 3:
            raise RuntimeError("the extension registry did not answer")
        gc.disable()
        return "running"

    assert launch.started(make, waits.append) == "running"
    assert waits == list(launch.RETRIES_S) == sorted(waits)
    assert gc.isenabled()

    def never() -> str:
        raise RuntimeError("no GPU")

    with pytest.raises(RuntimeError, match="no GPU"):
        launch.started(never, waits.append)
    assert len(waits) == 4


def test_a_launcher_that_ends_the_interpreter_becomes_an_error_with_a_fix():
    def ends() -> str:
        raise SystemExit(1)

    with pytest.raises(UserError, match="ended with exit code 1") as caught:
        launch.started(ends)
    assert "GPU with ray tracing" in caught.value.fix
