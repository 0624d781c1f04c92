"""What has to be said before any test imports a simulator: where its assets are."""

from __future__ import annotations

import os

from tests.assets import unpacked

libero = unpacked("libero_assets_256px.tar.xz")
if libero is not None:
    os.environ.setdefault("LIBERO_ASSETS", str(libero))

bridge = unpacked("maniskill_bridge.tar.xz")
if bridge is not None:
    os.environ.setdefault("MS_ASSET_DIR", str(bridge))
    os.environ.setdefault("MANISKILL_ASSET_DIR", str(bridge))
