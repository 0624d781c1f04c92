"""Starting OmniGibson: variables and macros before it is imported, and again where that fails.

Not run by us: it needs Isaac Sim, and that a GPU with ray tracing. The tests use stand-ins.
"""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import time
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from rlinf.devices import VARIABLE as VISIBLE
from rlinf.devices import listed, number_of
from rlinf.envs.behavior.data import DATA, ISAAC
from rlinf.envs.behavior.spec import OWN_PYTHON
from rlinf.envs.hosting.installed import version_of
from rlinf.errors import UserError

_log = logging.getLogger(__name__)
T = TypeVar("T")

APPDATA = "OMNIGIBSON_APPDATA_PATH"
MACROS: dict[str, Any] = {
    "HEADLESS": True,
    "ENABLE_OBJECT_STATES": True,  # goals are states of objects
    "ENABLE_TRANSITION_RULES": True,
    "USE_GPU_DYNAMICS": False,
    "ENABLE_FLATCACHE": True,
    "RENDER_VIEWER_CAMERA": False,
    "USE_NUMPY_CONTROLLER_BACKEND": True,
}
"""Settings of the whole process; each counts until it is read for the first time."""
RETRIES_S = (5.0, 20.0)
"""Waits before the second and the third try: several processes that start Kit at once may fail."""
NEEDS = (
    "OmniGibson 3.7 or newer in a Python 3.10 of its own, Isaac Sim 4.5, a GPU with ray tracing "
    "(RTX) and the NVIDIA driver 570 or newer on Hopper and newer: "
    "docs/source-en/benchmarks/behavior.md"
)
_claimed: list[FileIO] = []


def omnigibson() -> Any:
    """The package, imported with the settings of this process.

    Raises:
        UserError: it is not there, too old, or does not import.
    """
    found = version_of("omnigibson", "OmniGibson", "behavior")
    if not OWN_PYTHON.accepts(found):
        raise UserError(
            f"OmniGibson {found} in the simulator's Python: 3.7 or newer is needed; the 1.1.1 of "
            "the package index has no R1 Pro",
            f"install {NEEDS}",
        )
    settle(os.environ)
    with suppress(ImportError):
        import numba  # noqa: F401 - its LLVM has to be loaded before Kit's
    try:
        from omnigibson.macros import gm

        for name, value in MACROS.items():
            setattr(gm, name, value)
        import omnigibson as og
    except (ImportError, SystemExit, RuntimeError, AssertionError) as error:
        raise UserError(
            f"OmniGibson {found} does not import: {type(error).__name__}: {error}",
            f"it needs {NEEDS}",
        ) from error
    return og


def settle(environment: MutableMapping[str, str]) -> None:
    """Environment variables that OmniGibson reads when it is imported or starts Kit.

    Raises:
        UserError: the folder of the data sets is not named, or not there.
    """
    named = environment.get(DATA)
    data = Path(named).expanduser() if named else None
    if data is None or not data.is_dir():
        raise UserError(
            f"{DATA} {f'= {named}: there is no such folder' if named else 'is not set'}",
            f"export {DATA}=FOLDER of the data sets",
        )
    environment[DATA] = str(data)
    for name, below in (
        ("OMNIGIBSON_DATASET_PATH", "behavior-1k-assets/"),
        ("OMNIGIBSON_KEY_PATH", "omnigibson.key"),
        ("OMNIGIBSON_ASSET_PATH", "omnigibson-robot-assets/"),
    ):
        environment.setdefault(name, f"{data}/{below}")
    environment.setdefault("OMNIGIBSON_HEADLESS", "1")
    if isaac := environment.get(ISAAC):
        environment.setdefault("EXP_PATH", f"{isaac}/apps")
        environment.setdefault("CARB_APP_PATH", f"{isaac}/kit")
    _number_gpus_alike(environment)
    cache = Path(environment.get("RLINF_CACHE") or "~/.cache/rlinf").expanduser()
    root = environment.get(APPDATA) or cache / "omnigibson"  # images of OmniGibson set it
    environment[APPDATA] = str(claim(Path(root)))


def _number_gpus_alike(environment: MutableMapping[str, str]) -> None:
    """Kit draws through Vulkan, which counts all GPUs, whatever CUDA_VISIBLE_DEVICES shows: the
    process gets the number of its GPU among all, and CUDA counts them all too.

    Raises:
        UserError: the variable names the GPU in a way that has no number.
    """
    visible = listed(environment.get(VISIBLE)) or []
    if len(visible) != 1 or "OMNIGIBSON_GPU_ID" in environment:
        return
    number = visible[0] if visible[0].isdigit() else number_of(visible[0])
    if number is None:
        raise UserError(
            f"{VISIBLE} = {visible[0]}: Isaac Sim draws on a whole GPU, which it knows by "
            "number, and nvidia-smi lists no such GPU",
            f"start with numbers of whole GPUs in {VISIBLE}, or export OMNIGIBSON_GPU_ID=NUMBER",
        )
    environment["OMNIGIBSON_GPU_ID"] = number
    environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    del environment[VISIBLE]


def claim(root: Path) -> Path:
    """A folder below `root` that no other process uses until this one ends.

    Kit keeps shaders there (gigabytes, minutes to make) and breaks where two processes write. The
    lowest free number is taken, so the next run finds its shaders again.
    """
    for number in count():
        folder = root / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileIO(folder / ".lock", "a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _claimed.append(lock)  # it is released with the process
        return folder
    raise AssertionError


def started(make: Callable[[], T], wait: Callable[[float], None] = time.sleep) -> T:
    """What `make` makes, tried again after a while where it raises.

    Raises:
        UserError: the launcher ended with an exit code, as where there is no usable GPU.
        RuntimeError, OSError: of the last try.
    """
    for seconds in RETRIES_S:
        try:
            return _made(make)
        except (RuntimeError, OSError) as error:
            _log.warning("OmniGibson did not start, again in %g s: %s", seconds, error)
            wait(seconds)
    return _made(make)


def _made(make: Callable[[], T]) -> T:
    try:
        made = make()
    except SystemExit as end:
        raise UserError(
            f"OmniGibson did not start: its launcher ended with exit code {end.code}",
            f"it needs {NEEDS}",
        ) from end
    gc.enable()  # Kit turns the collector of cycles off, and memory grows
    return made
