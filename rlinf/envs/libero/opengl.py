"""Which OpenGL draws MuJoCo's images: EGL on the process's own device, or OSMesa.

An EGL device has a number of its own, which is not CUDA's. A process that was given GPUs draws on
the first of them; one that was given none (`CUDA_VISIBLE_DEVICES` is empty) draws in software.

What was run: EGL and OSMesa in software. What was not: EGL on a GPU; the choice among devices is
tested on lists of devices.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rlinf.config.machine import cache_folder
from rlinf.devices import VARIABLE, listed
from rlinf.envs.rendering import RenderedFrame, check_rendering
from rlinf.errors import UserError

_CUDA_DEVICE = 0x323A  # EGL_CUDA_DEVICE_NV, of the extension EGL_NV_device_cuda
_DEVICE_PLATFORM = 0x313F  # EGL_PLATFORM_DEVICE_EXT
_SCENE = """<mujoco><worldbody>
<light pos="0 0 3"/><geom type="plane" size="2 2 .1" rgba=".2 .4 .8 1"/>
<geom type="sphere" size=".3" pos="0 0 .3" rgba=".9 .3 .1 1"/>
</worldbody></mujoco>"""


def use(renderer: str) -> None:
    """Makes MuJoCo and robosuite draw with `renderer` in this process; before they are imported.

    Args:
        renderer: `egl`, `osmesa`, or `auto` for the first of them that draws a test image.

    Raises:
        UserError: none does.
    """
    if "mujoco" in sys.modules:
        assert os.environ.get("MUJOCO_GL") in ("egl", "osmesa"), (
            "mujoco was imported before its renderer"
        )
    backend = choose() if renderer == "auto" else renderer
    os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = backend
    if backend == "egl":
        wanted = os.environ.pop("MUJOCO_EGL_DEVICE_ID", None)  # robosuite takes it for CUDA's
        _share_display(int(wanted) if wanted is not None else None)


def choose() -> str:
    """The first backend that draws a test image in a process of its own.

    A success is remembered for this boot, since sub-processes ask at the same time and often.
    """
    memory = _memory_of_choice()
    if memory.is_file():
        remembered: str = json.loads(memory.read_text())
        return remembered
    report = check_rendering("libero")
    if not report.ok:
        raise UserError(f"MuJoCo cannot draw on this machine: {report.message}", report.fix)
    memory.parent.mkdir(parents=True, exist_ok=True)
    new = memory.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(report.backend))
    new.replace(memory)
    return report.backend


def draw(backend: str) -> RenderedFrame:
    """Renders a small scene; ends the process or raises where that does not work."""
    use(backend)
    device, pixels = _test_image()
    return RenderedFrame(backend=backend, device=device, contrast=float(pixels.std()))


def devices_to_try(cuda_ids: Sequence[int | None], visible: str | None) -> list[int]:
    """The EGL devices that a process may draw on, the likeliest first.

    Drivers number GPUs over all of the machine, or among those that CUDA shows to the process, and
    some say -1 of the others. Where both readings are possible both are tried.

    Args:
        cuda_ids: CUDA's number of each EGL device; None for one that is no NVIDIA GPU.
        visible: `CUDA_VISIBLE_DEVICES` of the process, None where it is not set.

    Returns:
        Indices of devices.

    Raises:
        UserError: the GPU of the process draws through no EGL device.
    """
    gpus = [index for index, cuda in enumerate(cuda_ids) if cuda is not None]
    others = [index for index, cuda in enumerate(cuda_ids) if cuda is None]
    numbered = {cuda: index for index in gpus if (cuda := cuda_ids[index]) not in (None, -1)}
    entries = listed(visible)
    if entries is None:
        return [numbered[cuda] for cuda in sorted(numbered)] + others or gpus
    if not entries:
        return others or gpus
    own, found = entries[0], []
    if len(numbered) <= len(entries) and 0 in numbered and max(numbered) < len(numbered):
        found.append(numbered[0])  # 0, 1, ... among its own
    if own.isdigit() and int(own) in numbered:
        found.append(numbered[int(own)])
    if not found and len(gpus) == 1:  # a container with one GPU, whatever it is called
        found = gpus
    if not found:
        raise UserError(
            f"CUDA_VISIBLE_DEVICES = {visible}: EGL lists the CUDA devices "
            f"{[cuda_ids[index] for index in gpus]}, so it cannot draw on {own}",
            "check that the driver's EGL is installed, or set MUJOCO_EGL_DEVICE_ID to a device of "
            "EGL",
        )
    return list(dict.fromkeys(found))


def _share_display(wanted: int | None) -> None:
    """Opens the display of one device and gives it to MuJoCo and to robosuite.

    Where several are likely it is the first that draws a test image.
    """
    import mujoco.egl
    from mujoco.egl import egl_ext

    devices = egl_ext.eglQueryDevicesEXT(max_devices=64)
    if wanted is None:
        ids = [_cuda_id(egl_ext, device) for device in devices]
        candidates = devices_to_try(ids, os.environ.get(VARIABLE))
    else:
        candidates = [wanted]
    for candidate in candidates:
        display = egl_ext.eglGetPlatformDisplayEXT(_DEVICE_PLATFORM, devices[candidate], None)
        if display and egl_ext.eglInitialize(display, None, None):
            mujoco.egl.EGL_DISPLAY = display
            if len(candidates) == 1 or _draws():
                return
    raise RuntimeError(f"no EGL device of {candidates} among {len(devices)} draws")


def _draws() -> bool:
    """Whether a test image appears on the display that MuJoCo has now."""
    try:
        return _test_image()[1].std() > 0
    except Exception:  # noqa: BLE001 - whatever the driver raises, another device may draw
        return False


def _test_image() -> tuple[str, np.ndarray]:
    """The renderer's name, and a small scene: [64, 64, 3] uint8."""
    import mujoco
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(_SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 64, 64) as renderer:
        device = GL.glGetString(GL.GL_RENDERER).decode()
        renderer.update_scene(data)
        return device, renderer.render()


def give_display_to_robosuite() -> None:
    """The same display for robosuite, which would choose one by other rules."""
    if os.environ["MUJOCO_GL"] == "egl":
        import mujoco.egl
        from robosuite.renderers.context import egl_context

        egl_context.EGL_DISPLAY = mujoco.egl.EGL_DISPLAY


def _cuda_id(egl: Any, device: Any) -> int | None:
    """CUDA's number of an EGL device."""
    address = egl.eglGetProcAddress("eglQueryDeviceAttribEXT")
    if not address:
        return None
    signature = ctypes.CFUNCTYPE(
        ctypes.c_uint, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_ssize_t)
    )
    query = ctypes.cast(address, signature)
    value = ctypes.c_ssize_t(-1)
    found = query(ctypes.cast(device, ctypes.c_void_p), _CUDA_DEVICE, ctypes.byref(value))
    return int(value.value) if found else None


def _memory_of_choice() -> Path:
    """A file for this boot, these devices and this MuJoCo."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    visible = os.environ.get(VARIABLE, "unset")
    device = os.environ.get("MUJOCO_EGL_DEVICE_ID", "unset")
    key = sha256(" ".join((boot, visible, device, version("mujoco"))).encode()).hexdigest()[:16]
    return cache_folder() / "libero" / f"renderer-{key}.json"
