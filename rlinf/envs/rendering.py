"""Checks that the simulator can draw: one real ManiSkill frame, made in a process of its own.

Importing the simulator or listing Vulkan devices proves nothing: a driver that is too old is listed
and then refused, and a broken one kills the process. So the check draws a frame in a sub-process,
and whatever happens there ends as a sentence here.

    python -m rlinf.envs.rendering          # exit code 0: a frame was drawn, 1: it was not
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

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
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What the drawing process found out about its frame."""

    backend: str  # ManiSkill's name of the renderer that drew it, e.g. "sapien_cpu"
    device: str  # SAPIEN's name of the device, e.g. "cpu" or a GPU's name
    contrast: float  # standard deviation of the pixel values, 0 to 255; 0 is an empty picture


@dataclass(frozen=True, slots=True)
class RenderReport:
    """Whether a frame was drawn, where, and if not, why and what helps."""

    ok: bool
    seconds: float  # wall time, start of the process and import of the simulator included
    message: str
    device: str = ""
    fix: str = ""


def check_rendering(backend: str = "gpu", timeout_s: float = TIMEOUT_S) -> RenderReport:
    """Draws one frame in a sub-process; never raises for a renderer that fails.

    Args:
        backend: ManiSkill's `render_backend`; with "gpu" ManiSkill itself takes the CPU where
            there is no CUDA device, and the report names the device really used.
        timeout_s: seconds after which the drawing process counts as hung and is killed.
    """
    command = [sys.executable, "-m", "rlinf.envs.rendering", "--draw", "--backend", backend]
    # Without this a missing asset asks a question on stdin and waits for ever.
    environment = os.environ | {"MS_SKIP_ASSET_DOWNLOAD_PROMPT": "1"}
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
    frame = Frame(**json.loads(stdout.splitlines()[-1]))
    if frame.contrast == 0.0:
        return failure(f"the frame drawn on {frame.device!r} is a single colour", seconds)
    message = f"drew a frame on {frame.device!r} ({frame.backend}) in {seconds:.1f} s"
    return RenderReport(ok=True, seconds=seconds, message=message, device=frame.device)


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
    fix = "bash requirements/install.sh   (checks this again and installs what is missing)"
    return RenderReport(ok=False, seconds=seconds, message=message, fix=fix)


def draw(backend: str) -> Frame:
    """Renders the first camera image of a task whose assets come with ManiSkill itself."""
    import gymnasium
    import mani_skill.envs  # noqa: F401  (registers the tasks)

    env = gymnasium.make(
        "PushCube-v1", obs_mode="rgb", num_envs=1, sim_backend="cpu", render_backend=backend
    )
    observation, _ = env.reset(seed=0)
    pixels = observation["sensor_data"]["base_camera"]["rgb"]
    used = env.unwrapped.backend  # type: ignore[attr-defined]
    return Frame(
        backend=used.render_backend,
        device=used.render_device.name,
        contrast=float(pixels.float().std()),
    )


def main(arguments: list[str] | None = None) -> int:
    """Command line: report the check, or (`--draw`, used by the check itself) draw the frame."""
    parser = argparse.ArgumentParser(prog="python -m rlinf.envs.rendering", description=__doc__)
    parser.add_argument("--backend", default="gpu", help="ManiSkill's render_backend")
    parser.add_argument("--draw", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.draw:
        print(json.dumps(asdict(draw(options.backend))))
        return 0
    report = check_rendering(options.backend)
    print(f"rendering: {report.message}")
    if not report.ok:
        print(f"  fix: {report.fix}")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
