from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rlinf.config.machine import Machine
from rlinf.config.placement import Node
from rlinf.envs.rendering import RenderReport, failure
from rlinf.registry import OwnPython
from rlinf.runners.doctor import Finding, examine, own_python_finding

WELL = Machine(Node(accelerators=0, cpu_slots=2), 16_000_000_000, 8_000_000_000)
DREW = RenderReport(ok=True, seconds=1.0, message="drew a frame on 'llvmpipe'")


def findings(machine: Machine = WELL, seen: int = 0, **reports: RenderReport) -> list[Finding]:
    """What is said of a machine whose renderers answer as given, otherwise with a frame."""
    return list(examine(machine, lambda: seen, lambda _, backend: reports.get(backend, DREW)))


def said_of(subject: str, found: list[Finding]) -> list[str]:
    return [finding.text for finding in found if finding.subject == subject]


def test_nothing_has_to_be_done_on_a_machine_that_is_well():
    found = findings()
    assert found[0] == Finding("machine", "2 CPU cores, no GPU, 16.0 GB of memory")
    assert not any(finding.fix for finding in found)


def test_it_says_which_renderers_draw_and_which_one_is_taken():
    found = findings(egl=failure("there is no EGL driver (package libegl-mesa0)", 1.0))
    assert said_of("libero", found) == [
        "egl: does not draw: there is no EGL driver (package libegl-mesa0)",
        "osmesa: drew a frame on 'llvmpipe'; runs take it",
    ]
    assert not any(finding.fix for finding in found)  # one is enough


def test_a_simulator_that_cannot_draw_at_all_gets_the_command_that_helps():
    found = findings(gpu=failure("the Vulkan loader is missing (package libvulkan1)", 1.0))
    (finding,) = [one for one in found if one.fix]
    assert finding.subject == "maniskill" and "requirements/install.sh" in finding.fix


def test_a_simulator_that_is_not_installed_is_no_trouble():
    found = findings(gpu=failure("ManiSkill is not installed: No module named 'mani_skill'", 1.0))
    assert said_of("maniskill", found) == ["not installed"]
    assert not any(finding.fix for finding in found)


def test_a_container_s_small_shared_memory_and_a_torch_without_cuda_are_found():
    docker = Machine(Node(accelerators=8, cpu_slots=64), 512_000_000_000, 67_108_864)
    ill = {finding.subject: finding for finding in findings(docker) if finding.fix}
    assert ill["/dev/shm"].text == "0.07 GB" and "--shm-size" in ill["/dev/shm"].fix
    assert ill["torch"].text.endswith("sees no GPU of 8") and "CUDA" in ill["torch"].fix


def own_python(path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> OwnPython:
    """A simulator's Python that does what a shell script says."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("RLINF_FAR_PYTHON", str(path))
    return OwnPython("far", "3.12", "RLINF_FAR_PYTHON", "pip", ("no_such_package",), ("FAR_EULA",))


def test_a_simulator_s_own_python_is_asked_what_it_has_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = own_python(tmp_path / "python", monkeypatch, f'exec {sys.executable} "$@"')
    monkeypatch.setenv("FAR_EULA", "Y")
    own = replace(own, package="numpy")
    finding = own_python_finding("far", own)
    assert re.fullmatch(
        r"numpy [\d.]+, no_such_package not installed; Python 3\.[\d.]+ at .*/python, FAR_EULA=Y",
        finding.text,
    )
    assert finding.fix == ""


def test_a_simulator_s_own_python_that_lacks_it_or_is_broken_gets_the_command_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = own_python(tmp_path / "python", monkeypatch, f'exec {sys.executable} "$@"')
    lacking = own_python_finding("far", replace(own, package="no_such_package"))
    assert lacking.text.endswith("/python has no no_such_package")
    broken = own_python_finding(
        "far", own_python(tmp_path / "b", monkeypatch, "echo no >&2; exit 1")
    )
    assert broken.text.endswith("/b does not start: no")
    assert all("install.sh --env far" in finding.fix for finding in (lacking, broken))


def test_a_simulator_whose_python_was_not_installed_is_no_trouble(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RLINF_FAR_PYTHON", "/no/python")
    finding = own_python_finding("far", OwnPython("far", "3.12", "RLINF_FAR_PYTHON", "far"))
    assert finding == Finding("far", "not installed (/no/python, RLINF_FAR_PYTHON)")
