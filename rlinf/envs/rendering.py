"""Checks that a simulator can draw: one real frame, made in a process of its own.

Importing the simulator or listing devices proves nothing: a driver that is too old is listed and
then refused, and a broken one kills the process. So the check draws a frame in a sub-process, and
whatever happens there ends as a sentence here.

    python -P -m rlinf.envs.rendering         # exit code 0: ManiSkill drew a frame, 1: it did not
    python -P -m rlinf.envs.rendering libero
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from ctypes.util import find_library
from dataclasses import asdict, dataclass
from pathlib import Path

from rlinf import installer
from rlinf.registry import choose, imported, renderers

TIMEOUT_S = 300.0

# What a failing renderer says -> what that means for the person in front of it. First match wins.
KNOWN_FAILURES = (
    ("No module named 'mani_skill'", "ManiSkill is not installed"),
    ("No module named 'sapien'", "SAPIEN is not installed"),
    ("libGL.so", "the system library libGL is missing (package libgl1)"),
    ("libgthread", "the system library GLib is missing (package libglib2.0-0)"),
    ("libX11", "the system library libX11 is missing (package libx11-6)"),
    ("libxcb", "the system library libxcb is missing (package libxcb1)"),
    ("libvulkan", "the Vulkan loader is missing (package libvulkan1)"),
    ("ErrorIncompatibleDriver", "there is no Vulkan driver (package mesa-vulkan-drivers)"),
    ("supported physical device", "the Vulkan driver lacks what SAPIEN needs (Mesa before 24.3?)"),
    ("ErrorFeatureNotPresent", "the Vulkan driver lacks what SAPIEN needs (Mesa before 24.3?)"),
    ("rendering device", "SAPIEN finds no Vulkan device that it can draw with"),
    ("No module named 'mujoco'", "MuJoCo is not installed"),
    ("eglQueryDevicesEXT", "the system library libEGL is missing (package libegl1)"),
    ("attribute 'eglQueryString'", "the system library libEGL is missing (package libegl1)"),
    ("EGL device", "there is no EGL driver (package libegl-mesa0)"),
    ("attribute 'glGetError'", "the system library libOSMesa is missing (package libosmesa6)"),
)


@dataclass(frozen=True, slots=True)
class RenderedFrame:
    """What the drawing process found out about its frame."""

    backend: str  # the simulator's name of the renderer that drew it, e.g. "sapien_cpu" or "egl"
    device: str  # the renderer's name of the device, e.g. "cpu" or a GPU's name
    contrast: float  # standard deviation of the pixel values, 0 to 255; 0 is an empty picture


@dataclass(frozen=True, slots=True)
class RenderReport:
    """Whether a frame was drawn, where, and if not, why and what helps."""

    ok: bool
    seconds: float  # wall time, start of the process and import of the simulator included
    message: str
    backend: str = ""
    device: str = ""
    fix: str = ""


def check_rendering(
    simulator: str, backend: str | None = None, timeout_s: float = TIMEOUT_S
) -> RenderReport:
    """Draws one frame in a sub-process; never raises for a renderer that fails.

    Args:
        simulator: a name in `registry.renderers`.
        backend: a name of the simulator's; None tries all it has and reports the first that draws,
            or the first failure. The report names the device really used.
        timeout_s: seconds after which the drawing process counts as hung and is killed.
    """
    if backend is None:
        reports = []
        for name in renderers()[simulator].backends:
            reports.append(check_rendering(simulator, name, timeout_s))
            if reports[-1].ok:
                return reports[-1]
        return reports[0]
    command = [sys.executable, "-P", "-m", "rlinf.envs.rendering", simulator, "--draw", backend]
    # The same modules as here, wherever this was started.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    start = time.monotonic()
    try:
        drawing = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return failure(f"no frame within {timeout_s:.0f} s", time.monotonic() - start)
    return report_of(drawing.returncode, drawing.stdout, drawing.stderr, time.monotonic() - start)


def report_of(returncode: int, stdout: str, stderr: str, seconds: float) -> RenderReport:
    """Turns the end of the drawing process into a report."""
    if returncode < 0:
        return failure(f"the renderer crashed with {signal.Signals(-returncode).name}", seconds)
    if returncode > 0:
        return failure(explain(stderr), seconds)
    frame = RenderedFrame(**json.loads(stdout.splitlines()[-1]))
    if frame.contrast == 0.0:
        return failure(f"the frame drawn on {frame.device!r} is a single colour", seconds)
    message = f"drew a frame on {frame.device!r} ({frame.backend}) in {seconds:.1f} s"
    return RenderReport(
        ok=True, seconds=seconds, message=message, backend=frame.backend, device=frame.device
    )


def explain(stderr: str) -> str:
    """The last line of a traceback, led by its meaning where that is known."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "no error output"
    for sign, meaning in KNOWN_FAILURES:
        if sign in last:
            return f"{meaning}: {last}"
    return last


def failure(message: str, seconds: float) -> RenderReport:
    """A failed report; the remedy is the same for all: the installer knows the system packages."""
    fix = f"{installer.command()}, which checks this again and installs what is missing"
    if any(Path("/dev").glob("nvidia[0-9]*")):
        causes = gpu_causes(os.environ.get("NVIDIA_DRIVER_CAPABILITIES"), find_library)
        fix = "; ".join([*causes, fix])
    return RenderReport(ok=False, seconds=seconds, message=message, fix=fix)


def gpu_causes(capabilities: str | None, find: Callable[[str], str | None]) -> list[str]:
    """Why an NVIDIA GPU that computes does not draw, as far as it shows; what to do, each.

    Args:
        capabilities: `NVIDIA_DRIVER_CAPABILITIES`, None where it is not set.
        find: the file of a shared library by its name; None where there is none.
    """
    causes = []
    allowed = set((capabilities or "all").replace(" ", "").split(","))
    if not allowed & {"all", "graphics"}:
        causes.append(
            f"NVIDIA_DRIVER_CAPABILITIES = {capabilities} keeps the driver's graphics out of this "
            "container: start it with docker run -e NVIDIA_DRIVER_CAPABILITIES=all"
        )
    if find("GLX_nvidia") is None:
        causes.append(
            "libGLX_nvidia.so.0 is missing, a part of the driver that drivers for data centres "
            "leave out when installed without OpenGL: install the whole driver on the machine"
        )
    if find("Xext") is None:
        causes.append("libXext.so.6 is missing, which the driver loads: install libxext6")
    return causes


def main(arguments: list[str] | None = None) -> int:
    """Command line: report the check, or (`--draw`, used by the check itself) draw the frame."""
    parser = argparse.ArgumentParser(prog="python -P -m rlinf.envs.rendering", description=__doc__)
    parser.add_argument("simulator", nargs="?", default="maniskill", choices=renderers())
    parser.add_argument("--draw", metavar="BACKEND", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.draw:
        draw = imported(choose(renderers(), options.simulator).draw)
        print(json.dumps(asdict(draw(options.draw))))
        return 0
    report = check_rendering(options.simulator)
    print(f"rendering: {report.message}")
    if not report.ok:
        print(f"  fix: {report.fix}")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
