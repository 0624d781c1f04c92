"""Devices by `CUDA_VISIBLE_DEVICES`, and a CUDA that does not come up."""

from __future__ import annotations

import pytest
import torch

from rlinf.devices import chosen, count, cuda_problem, device_of_process, driver_version, listed
from rlinf.envs.maniskill import backends
from rlinf.errors import UserError
from rlinf.workers.process import prepare_torch


@pytest.mark.parametrize(
    ("variable", "entries"),
    [
        (None, None),
        ("", []),
        ("-1", []),
        ("4,5", ["4", "5"]),
        (" 4 , 5 ", ["4", "5"]),
        ("2,-1,3", ["2"]),  # CUDA stops at the first that names no device
        ("GPU-8932f937-d72c,1", ["GPU-8932f937-d72c", "1"]),
        ("MIG-GPU-8932f937/1/0", ["MIG-GPU-8932f937/1/0"]),
        ("NoDevFiles", []),
    ],
)
def test_the_list_ends_where_cuda_ends_it(variable: str | None, entries: list[str] | None) -> None:
    assert listed(variable) == entries


@pytest.mark.parametrize(
    ("variable", "present", "visible"),
    [
        (None, 8, 8),
        ("", 8, 0),
        ("-1", 8, 0),
        ("4,5", 8, 2),
        ("4,5,8,6", 8, 2),  # there is no device 8
        ("MIG-a,MIG-b,MIG-c", 1, 3),  # parts of one GPU
        ("0", 0, 0),
    ],
)
def test_devices_are_counted_as_cuda_counts_them(
    variable: str | None, present: int, visible: int
) -> None:
    assert count(variable, present) == visible


def test_an_index_is_a_place_among_the_visible_devices() -> None:
    assert chosen([0, 1], "4,5") == "4,5"
    assert chosen([1], "GPU-a,GPU-b") == "GPU-b"
    assert chosen([2, 0], None) == "2,0"
    assert chosen([], "4,5") == ""
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES = -1 on this node"):
        chosen([0], "-1")


def test_what_is_wrong_is_reported_with_versions_and_a_fix() -> None:
    cases = [
        (None, "12.8", "no driver", "driver none, torch 2.13, built for CUDA 12.8", "--gpus all"),
        ("470.57", "12.8", "too old", "driver 470.57.*: too old", "below 12.8 update the driver"),
        ("570.1", None, "no CUDA", "built for the CPU alone", "UV_TORCH_BACKEND=auto"),
    ]
    for driver, built_for, reason, told, fix in cases:
        error = cuda_problem(driver, "2.13", built_for, reason)
        assert error.exit_code == 2 and fix in error.fix
        with pytest.raises(UserError, match=told):
            raise error


def test_the_drivers_version_is_read_from_both_kinds_of_kernel_module() -> None:
    closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun  6 22:20:39 2023"
    opened = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build"
    assert (driver_version(closed), driver_version(opened)) == ("535.54.03", "570.86.15")
    assert driver_version("") is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_what_was_placed_on_a_gpu_never_computes_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = "placed on a GPU, and CUDA does not come up"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    with pytest.raises(UserError, match=told):
        prepare_torch(1)
    for backend in ("auto", "gpu"):
        with pytest.raises(UserError, match=told):
            backends.make_maniskill(1, id="PushCube-v1", sim_backend=backend)
    assert device_of_process("cpu") == "cpu"  # of the launcher, whose placement is a CPU slot
    for without in ("", "-1", None):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        if without is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", without)
        assert prepare_torch(1) == torch.device("cpu")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=told):
        prepare_torch(1, "cuda:3")


def test_a_process_on_a_gpu_says_so_to_torch_before_anything_else_chooses_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")  # two GPUs: the first is this rank's
    assert prepare_torch(1) == torch.device("cuda", 0)
    assert prepare_torch(1, "cuda:1") == torch.device("cuda", 1)  # of the launcher
    assert current == [torch.device("cuda", 0), torch.device("cuda", 1)]
