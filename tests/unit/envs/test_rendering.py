"""The render check turns every way a renderer can end into a sentence."""

from __future__ import annotations

import importlib.util

import pytest

from rlinf.envs.rendering import check_rendering, explain, gpu_causes, report_of

DRAWN = '{"backend": "sapien_cpu", "device": "cpu", "contrast": 48.8}\n'


def test_a_frame_with_contrast_is_a_success_that_names_the_device():
    report = report_of(0, "some noise\n" + DRAWN, "", seconds=3.21)
    assert report.ok
    assert report.message == "drew a frame on 'cpu' (sapien_cpu) in 3.2 s"


def test_a_frame_of_one_colour_is_a_failure():
    report = report_of(0, DRAWN.replace("48.8", "0.0"), "", seconds=1.0)
    assert not report.ok
    assert report.message == "the frame drawn on 'cpu' is a single colour"


def test_a_crash_is_named_by_its_signal():
    assert report_of(-11, "", "", seconds=1.0).message == "the renderer crashed with SIGSEGV"


@pytest.mark.parametrize(
    ("last_line", "meaning"),
    [
        ("ImportError: libGL.so.1: cannot open shared object file", "package libgl1"),
        ("RuntimeError: vk::createInstanceUnique: ErrorIncompatibleDriver", "no Vulkan driver"),
        ('RuntimeError: Failed to find a supported physical device "cpu"', "Mesa before 24.3"),
        ("ModuleNotFoundError: No module named 'mani_skill'", "ManiSkill is not installed"),
    ],
)
def test_known_failures_are_led_by_what_they_mean(last_line, meaning):
    explained = explain(f"Traceback (most recent call last):\n  ...\n{last_line}\n")
    assert meaning in explained
    assert explained.endswith(last_line)


def test_a_gpu_that_computes_and_does_not_draw_is_reported_with_its_usual_causes():
    complete = {"GLX_nvidia": "libGLX_nvidia.so.0", "Xext": "libXext.so.6"}
    assert gpu_causes(None, complete.get) == []
    assert gpu_causes("all", complete.get) == gpu_causes("compute, graphics", complete.get) == []
    (container,) = gpu_causes("compute,utility", complete.get)
    assert "NVIDIA_DRIVER_CAPABILITIES=all" in container
    driver, library = gpu_causes(None, {}.get)
    assert "libGLX_nvidia.so.0 is missing" in driver and "install libxext6" in library


def test_an_unknown_failure_is_its_last_line():
    assert explain("Traceback\nKeyError: 'new'\n\n") == "KeyError: 'new'"


@pytest.mark.skipif(importlib.util.find_spec("mani_skill") is None, reason="needs ManiSkill")
def test_a_machine_without_a_vulkan_driver_gets_a_reason_and_a_fix(monkeypatch):
    monkeypatch.setenv("VK_ICD_FILENAMES", "/no/such/driver.json")
    report = check_rendering("maniskill", "cpu")
    assert not report.ok
    assert "no Vulkan driver" in report.message
    assert "requirements/install.sh" in report.fix


def test_a_renderer_that_hangs_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import signal\nsignal.pause()\n")
    monkeypatch.syspath_prepend(tmp_path)
    report = check_rendering("maniskill", "cpu", timeout_s=0.1)
    assert report.message == "no frame within 0 s"
