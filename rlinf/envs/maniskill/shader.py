"""ManiSkill's shaders without a look-up table that only scenes with an environment map need.

SAPIEN computes the table (the split-sum term of Karis, "Real Shading in Unreal Engine 4", 2013) in
every process in which a shader names it: ten seconds on a CPU. It scales what an environment map
reflects. Hardly a task has such a map; without one the product is zero, and the images are the
same to the last bit.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import sapien
from mani_skill.render import PREBUILT_SHADER_CONFIGS, ShaderConfig, set_shader_pack

from rlinf.config.machine import cache_folder
from rlinf.errors import UserError

if TYPE_CHECKING:
    from mani_skill.envs.sapien_env import BaseEnv

_HAVE_TABLE = ("minimal", "default")
_DECLARED = re.compile(r"^layout.*\bsamplerBRDFLUT;.*\n?", re.M)
_USED = re.compile(r"texture\(samplerBRDFLUT, [^;]*\)\.xy")


def without_table(shader: str) -> ShaderConfig:
    """The shader of this name, without the table if it has one."""
    stock: ShaderConfig = PREBUILT_SHADER_CONFIGS[shader]
    return replace(stock, shader_pack=str(_written(shader))) if shader in _HAVE_TABLE else stock


def choose_shader(shader: ShaderConfig) -> None:
    """What ManiSkill's `set_shader_pack` does, for shaders of `without_table` too."""
    stock = PREBUILT_SHADER_CONFIGS.get(Path(shader.shader_pack).name)
    if stock is not None:
        set_shader_pack(stock)  # the formats of the pictures belong to the name
    set_shader_pack(shader)


def has_environment_map(env: BaseEnv) -> bool:
    """Whether a scene reflects its surroundings."""
    return any(scene.render_system.cubemap is not None for scene in env.scene.sub_scenes)


def _written(shader: str) -> Path:
    """A folder with the changed sources; made when it is first asked for."""
    folder = cache_folder() / f"maniskill/shaders-{sapien.__version__}"
    if not folder.is_dir():
        try:
            scratch = folder.with_name(f".{uuid4().hex}")  # with the umask's rights, others read it
            scratch.mkdir(parents=True)
        except OSError as error:
            raise UserError(
                f"ManiSkill's shaders cannot be written to {folder.parent}: {error.strerror}",
                "export RLINF_CACHE=FOLDER with a folder that can be written to",
            ) from error
        for name in ("common", *_HAVE_TABLE):
            stock = Path(sapien.__file__).parent / "vulkan_shader" / name
            shutil.copytree(stock, scratch / name)
        for source in [*scratch.glob("*/*.frag"), *scratch.glob("*/*.glsl")]:
            text = _DECLARED.sub("", source.read_text())
            source.write_text(_USED.sub("vec2(0.0)", text))
        try:
            scratch.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(scratch)
    return folder / shader
