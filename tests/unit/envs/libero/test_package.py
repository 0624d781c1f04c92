"""LIBERO is imported without questions, without traces, and with one renderer that works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rlinf.envs.libero import opengl, package
from rlinf.envs.libero.opengl import devices_to_try
from rlinf.errors import UserError

EPISODE = """
import numpy as np, tempfile
from rlinf.data.types import Start
from rlinf.envs.libero.env import make_libero
env = make_libero(1, task_suite_name="libero_object", settle_steps=0, camera_size=32)
env.reset(np.zeros(1, np.int64), [Start(3, 0, 0)])
env.step(np.zeros((1, 7), np.float32), np.ones(1, bool))
assert env.observe(np.zeros(1, np.int64)).images.std() > 10
env.close()
"""


def test_an_episode_asks_nothing_and_writes_into_our_cache_folder_alone(tmp_path):
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    installed = package.package_folder().parents[1]
    log = Path("/tmp/robosuite.log")
    before = log.stat().st_mtime_ns if log.exists() else None
    caches = set(installed.glob("robosuite/**/*.nb[ci]"))
    environment = {name: value for name, value in os.environ.items() if name not in _DECIDED}
    environment |= {
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "RLINF_CACHE": str(home / "ours"),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    # Compiled numba code is taken from the cache of this test run: making it takes half a minute.
    shared = Path(os.environ.get("NUMBA_CACHE_DIR", home / "ours/libero/numba"))
    (home / "ours/libero").mkdir(parents=True)
    shared.mkdir(parents=True, exist_ok=True)
    if shared != home / "ours/libero/numba":
        (home / "ours/libero/numba").symlink_to(shared)
    done = subprocess.run(
        [sys.executable, "-c", EPISODE],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = {path.relative_to(home).parts[0] for path in home.rglob("*") if path.is_file()}
    assert written == {"ours"}
    assert list(temporary.iterdir()) == []
    assert (log.stat().st_mtime_ns if log.exists() else None) == before
    assert set(installed.glob("robosuite/**/*.nb[ci]")) == caches


_DECIDED = (
    *("LIBERO_CONFIG_PATH", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "MESA_SHADER_CACHE_DIR"),
    *("MUJOCO_GL", "PYOPENGL_PLATFORM", "RLINF_CACHE", "XDG_CACHE_HOME"),
)


def test_missing_assets_are_named_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    monkeypatch.setenv("LIBERO_ASSETS", str(tmp_path))
    with pytest.raises(UserError) as caught:
        package.assets_folder()
    assert str(tmp_path) in caught.value.message
    assert "rlinf assets download libero" in caught.value.fix


@pytest.mark.parametrize(
    ("cuda_ids", "visible", "devices"),
    [
        # Numbered over the machine; EGL's order is not CUDA's.
        ([2, 0, 1, None], "0", [1]),
        ([2, 0, 1, None], "2,0", [0]),
        ([-1, 5, -1, None], "5", [1]),  # -1: not this process's
        # Numbered among the process's own.
        ([-1, -1, 0, -1, None], "5", [2]),
        ([1, 0, None], "5,4", [1]),
        ([0, None], "5", [0]),
        ([0, None], "GPU-8f3c", [0]),
        ([-1, 0, -1], "MIG-8f3c", [1]),
        # Both are possible: the first of its own, then the one of that number.
        ([-1, 0, 1], "1,2", [1, 2]),
        ([0, 1], "1,0", [0, 1]),
        # No GPU given: in software. Nothing said: the first GPU.
        ([2, 0, 1, None], "", [3]),
        ([2, 0, 1, None], None, [1, 2, 0, 3]),
        ([None], "", [0]),
        ([None], None, [0]),
        ([0], "-1", [0]),  # no software device there
        ([7], "GPU-8f3c", [0]),  # a container with one GPU
    ],
)
def test_a_process_draws_on_its_own_device(cuda_ids, visible, devices):
    assert devices_to_try(cuda_ids, visible) == devices


def test_of_several_likely_devices_it_is_the_first_that_draws(monkeypatch):
    """The library on three devices: the first does not start, the second draws nothing."""
    egl = SimpleNamespace(
        eglQueryDevicesEXT=lambda max_devices: [0, 1, 2],
        eglGetPlatformDisplayEXT=lambda platform, device, attributes: device + 10,
        eglInitialize=lambda display, major, minor: display != 10,
    )
    library = SimpleNamespace(egl_ext=egl, EGL_DISPLAY=None)
    monkeypatch.setitem(sys.modules, "mujoco", SimpleNamespace(egl=library))
    monkeypatch.setitem(sys.modules, "mujoco.egl", library)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(opengl, "_cuda_id", lambda egl, device: None)

    def image() -> tuple[str, np.ndarray]:
        return "", np.eye(3) * (library.EGL_DISPLAY == 12)

    monkeypatch.setattr(opengl, "_test_image", image)
    opengl._share_display(None)
    assert library.EGL_DISPLAY == 12
    monkeypatch.setattr(opengl, "_test_image", lambda: ("", np.zeros(3)))
    with pytest.raises(RuntimeError, match="no EGL device"):
        opengl._share_display(None)


def test_a_gpu_that_egl_does_not_list_is_an_error():
    with pytest.raises(UserError, match="cannot draw on 3"):
        devices_to_try([0, 1, None], "3")
