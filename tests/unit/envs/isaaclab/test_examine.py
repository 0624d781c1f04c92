from __future__ import annotations

from pathlib import Path

import pytest

from rlinf.envs.isaaclab.examine import remarks

NOTHING = {"isaacsim": None, "isaacsim-kernel": None}


@pytest.fixture(autouse=True)
def no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ISAAC_PATH", raising=False)


def gpu(folder: Path, line: str) -> None:
    """A machine whose nvidia-smi prints a line."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{line}'\n")
    program.chmod(0o755)


def test_without_isaac_sim_newton_is_named():
    (said,) = remarks(NOTHING)
    assert said.startswith("no Isaac Sim: Newton is used")


def test_a_package_without_its_kernel_is_a_stub():
    (stub,) = remarks({"isaacsim": "5.1.0.0", "isaacsim-kernel": None})
    assert stub.startswith("isaacsim 5.1.0.0 is a stub") and "NVIDIA's own index" in stub
    (whole,) = remarks({"isaacsim": "6.2.0.0", "isaacsim-kernel": "6.2.0.0"})
    assert whole == "isaacsim 6.2.0.0 is no stub"


def test_a_wrong_isaac_path_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ISAAC_PATH", "/nowhere")
    assert list(remarks(NOTHING))[1] == "ISAAC_PATH = /nowhere: there is no such folder"


@pytest.mark.parametrize(
    ("line", "able"),
    [
        ("NVIDIA H100 80GB HBM3, 9.0, 580.65", False),
        ("NVIDIA A100-SXM4-40GB, 8.0, 550.90", False),
        ("NVIDIA GeForce GTX 1660, 7.5, 550.90", False),
        ("Tesla P100-PCIE-16GB, 6.0, 535.183", False),
        ("NVIDIA L40S, 8.9, 580.65", True),
        ("NVIDIA GeForce RTX 5090, 12.0, 580.65", True),
    ],
)
def test_a_gpu_has_ray_tracing_or_not(line: str, able: bool, tmp_path: Path):
    gpu(tmp_path, line)
    *_, said = remarks(NOTHING)
    name, _, driver = line.split(", ")
    assert said.startswith(f"{name}, driver {driver}: ")
    assert said.endswith("has ray tracing (RTX)" if able else "cameras of Isaac Sim need it")
