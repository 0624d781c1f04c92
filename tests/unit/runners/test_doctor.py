from __future__ import annotations

from rlinf.config.machine import Machine
from rlinf.config.placement import Node
from rlinf.envs.rendering import RenderReport, failure
from rlinf.runners.doctor import Finding, examine

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
