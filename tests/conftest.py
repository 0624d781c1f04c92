"""What must be said before any test imports a simulator: its assets, and what draws its images."""

from __future__ import annotations

import os
from contextlib import suppress
from importlib.util import find_spec

from rlinf.envs.libero import opengl, package
from rlinf.errors import UserError
from tests.assets import unpacked

libero = unpacked("libero_assets_256px.tar.xz")
if libero is not None:
    os.environ.setdefault("LIBERO_ASSETS", str(libero))

bridge = unpacked("maniskill_bridge.tar.xz")
if bridge is not None:
    os.environ.setdefault("MS_ASSET_DIR", str(bridge))
    os.environ.setdefault("MANISKILL_ASSET_DIR", str(bridge))

if find_spec("robosuite") is not None:
    package.keep_caches_together()  # simulators in processes of their own find what is compiled
    # MuJoCo takes its renderer when it is imported, and ManiSkill imports MuJoCo too.
    with suppress(UserError):  # nothing draws: the tests of LIBERO will say so
        os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = opengl.choose()
