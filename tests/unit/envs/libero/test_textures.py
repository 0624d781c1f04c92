"""Textures are drawn as the models saw them that were trained on LIBERO."""

from __future__ import annotations

import tomllib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rlinf.envs.libero.package import NEWER_MUJOCO, check_mujoco
from rlinf.errors import UserError
from tests.assets import ROOT

GREY = (128, 112, 96)
SCENE = """
<mujoco>
  <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/></visual>
  <asset>
    <texture name="floor" type="2d" file="floor.png"/>
    <material name="floor" texture="floor" specular="0" shininess="0"/>
  </asset>
  <worldbody>
    <geom type="plane" size="5 5 .1" material="floor"/>
    <camera name="above" pos="0 0 2" xyaxes="1 0 0 0 1 0"/>
  </worldbody>
</mujoco>
"""


def texture(with_srgb: bool) -> bytes:
    """A PNG of one colour; LIBERO's own have the chunk `sRGB`, which says nothing new of them."""
    chunks = PngInfo()
    if with_srgb:
        chunks.add(b"sRGB", b"\0")
    file = BytesIO()
    Image.new("RGB", (16, 16), GREY).save(file, "png", pnginfo=chunks)
    assert (b"sRGB" in file.getvalue()) == with_srgb
    return file.getvalue()


@pytest.mark.parametrize("with_srgb", [False, True])
def test_a_texture_has_its_own_levels_whatever_its_file_says_of_them(with_srgb: bool) -> None:
    """MuJoCo 3.3.7 makes 55, 42 and 30 of them where the file has the chunk."""
    import mujoco

    model = mujoco.MjModel.from_xml_string(SCENE, {"floor.png": texture(with_srgb)})
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 32, 32) as renderer:
        renderer.update_scene(data, camera="above")
        middle = renderer.render()[12:20, 12:20].reshape(-1, 3)
    np.testing.assert_allclose(middle.mean(axis=0), GREY, atol=1)


@pytest.mark.parametrize("found", ["3.3.3", "3.4.0", "3.10.1", "4.0.0"])
def test_a_mujoco_that_draws_otherwise_is_refused(found: str) -> None:
    with pytest.raises(UserError, match=rf"MuJoCo {found} (.|\n)*'mujoco<3\.3\.3'"):
        check_mujoco(found)


def test_the_versions_that_are_used_are_those_of_the_package() -> None:
    check_mujoco("3.2.7")
    check_mujoco("3.3.2")
    newer = ".".join(map(str, NEWER_MUJOCO))
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = pins["project"]["optional-dependencies"]["libero"]
    assert f"mujoco>=3.2.7,<{newer}" in wanted
