"""What this machine can do: hardware, packages, and which renderers really draw."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from rlinf.config import pythons
from rlinf.config.machine import Machine, this_machine
from rlinf.envs.rendering import RenderReport, check_rendering
from rlinf.errors import UserError
from rlinf.registry import OwnPython, imported, renderers, simulators
from rlinf.wording import plural

SMALL_SHARED_BYTES = 1_000_000_000  # of /dev/shm; containers get 64 MB by default
_NOT_INSTALLED = "is not installed"  # in a report, see `rendering.KNOWN_FAILURES`


class Finding(NamedTuple):
    """One line of the examination."""

    subject: str
    text: str
    fix: str = ""  # what to do, where something has to be done


def doctor(say: Callable[[str], None]) -> int:
    """Examines this machine, a line at a time; returns 2 where something has to be done, else 0."""
    ill = False
    for finding in examine():
        say(f"{finding.subject:<10} {finding.text}")
        if finding.fix:
            ill = True
            say(f"{'':<10} fix: {finding.fix}")
    say(f"{'next':<10} rlinf selftest checks what this machine computes, and how fast")
    return 2 if ill else 0


def examine(
    machine: Machine | None = None,
    gpus_of_torch: Callable[[], int] | None = None,
    check: Callable[[str, str], RenderReport] = check_rendering,
) -> Iterator[Finding]:
    """All findings.

    Args:
        machine: None for this one.
        gpus_of_torch: how many GPUs torch sees; None asks it.
        check: draws a frame with a simulator and one of its backends.
    """
    machine = machine or this_machine()
    yield from _hardware(machine)
    yield _torch(machine.node.accelerators, (gpus_of_torch or _gpus_of_torch)())
    yield Finding("ray", _version("ray"))
    yield Finding("flash-attn", _version("flash-attn", "not installed; optional"))
    for simulator, spec in simulators().items():
        if spec.python is not None:
            yield own_python_finding(simulator, spec.python)
    for simulator, renderer in renderers().items():
        yield from _rendering(
            simulator, {name: check(simulator, name) for name in renderer.backends}
        )


def _hardware(machine: Machine) -> Iterator[Finding]:
    gpus = machine.node.accelerators
    yield Finding(
        "machine",
        f"{plural(machine.node.cpu_slots, 'CPU core')}, {plural(gpus, 'GPU') if gpus else 'no GPU'}"
        f", {machine.memory_bytes / 1e9:.1f} GB of memory",
    )
    shared = machine.shared_bytes
    if shared is not None:
        small = shared < SMALL_SHARED_BYTES
        fix = "mount -o remount,size=8G /dev/shm, or docker run --shm-size=8g" if small else ""
        yield Finding("/dev/shm", f"{shared / 1e9:.2f} GB", fix)


def _torch(present: int, seen: int) -> Finding:
    text = f"{_version('torch')}, sees {plural(seen, 'GPU') if seen else 'no GPU'}"
    if seen >= present:
        return Finding("torch", text)
    return Finding(
        "torch",
        f"{text} of {present}",
        "install a build of torch for CUDA that the driver supports (nvidia-smi shows which)",
    )


def _rendering(simulator: str, reports: Mapping[str, RenderReport]) -> Iterator[Finding]:
    """The first backend that draws is the one a run takes."""
    if all(_NOT_INSTALLED in report.message for report in reports.values()):
        yield Finding(simulator, "not installed")
        return
    drawing = [name for name, report in reports.items() if report.ok]
    for name, report in reports.items():
        used = "; runs take it" if drawing[:1] == [name] else ""
        failed = "" if report.ok else "does not draw: "
        yield Finding(
            simulator, f"{name}: {failed}{report.message}{used}", "" if drawing else report.fix
        )


def own_python_finding(simulator: str, own: OwnPython) -> Finding:
    """The interpreter of a simulator and what is installed there; the simulator is not started."""
    python, source = pythons.chosen(own, None)
    if not os.access(python, os.X_OK):
        return Finding(simulator, f"not installed ({python}, {source})")
    try:
        version, packages = pythons.ask(own, python, [own.package, *own.also])
    except UserError as error:
        return Finding(simulator, error.message, error.fix)
    found = packages[own.package]
    if found is None:
        return Finding(simulator, f"{python} has no {own.package}", pythons.fix(own))
    if not own.accepts(found):
        text = f"{own.package} {found} at {python}: {own.oldest} or newer is needed"
        return Finding(simulator, text, pythons.fix(own))
    had = ", ".join(f"{name} {packages[name] or 'not installed'}" for name in packages)
    variables = "".join(f", {name}={os.environ[name]}" for name in own.reads if name in os.environ)
    more = imported(own.remarks)(packages) if own.remarks else ()
    return Finding(simulator, "; ".join([f"{had}; Python {version} at {python}{variables}", *more]))


def _gpus_of_torch() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _version(package: str, missing: str = "not installed") -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return missing
