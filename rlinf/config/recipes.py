"""How a published model was trained, as far as its files do not say: sequence end and image path.

A model acts well only on inputs made as in its training. What is known about the families is here,
in one place; each value can be set in the configuration, and the plan shows what was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rlinf.config.openvla import ModelFolder, OpenVlaOftConfig, PrismaticConfig

ImagePath = Literal["pillow", "tensor", "jpeg"]
NOTED = "rlinf"
"""Key of config.json under which our exports keep their recipe."""
_RLINF_NAMES = ("rlinf", "rlvla")  # in the names of folders trained with the RLinf recipe


@dataclass(frozen=True, slots=True)
class Recipe:
    """The inputs a model was trained on."""

    end_token: bool  # `</s>` behind the action placeholders (OpenVLA-OFT)
    image_path: ImagePath
    center_crop: bool
    origin: str  # why it was chosen

    def noted(self) -> dict[str, object]:
        """As it is kept in an export's config.json."""
        return {
            "end_token": self.end_token,
            "image_path": self.image_path,
            "center_crop": self.center_crop,
        }

    def __str__(self) -> str:
        crop = "the middle 90 %" if self.center_crop else "no crop"
        end = "with </s>" if self.end_token else "without </s>"
        return f"{self.origin} (sequence {end}; images: {self.image_path}, {crop})"


def resolve(config: PrismaticConfig, folder: ModelFolder) -> Recipe:
    """The recipe of a model folder, with what the configuration says otherwise."""
    found = _by_origin(config, folder)
    end_token = found.end_token
    if isinstance(config, OpenVlaOftConfig) and config.recipe != "auto":
        end_token = config.recipe == "official"
    return Recipe(
        end_token,
        found.image_path if config.image_path == "auto" else config.image_path,
        found.center_crop if config.center_crop is None else config.center_crop,
        found.origin,
    )


def _by_origin(config: PrismaticConfig, folder: ModelFolder) -> Recipe:
    """By what an export of ours notes, by the family's name, or else as the original code."""
    parallel = isinstance(config, OpenVlaOftConfig)
    noted = folder.settings.get(NOTED)
    if isinstance(noted, dict) and noted.get("image_path") in get_args(ImagePath):
        return Recipe(
            bool(noted.get("end_token")),
            noted["image_path"],
            bool(noted.get("center_crop")),
            "recipe noted in config.json",
        )
    name = f"{folder.path.name} {folder.settings.get('_name_or_path', '')}".lower()
    if any(part in name for part in _RLINF_NAMES):
        return Recipe(False, "tensor", False, "recipe rlinf, by the folder's name")
    if parallel and "libero" in config.unnorm_key:
        return Recipe(True, "jpeg", True, "recipe official, as OpenVLA-OFT on LIBERO")
    return Recipe(parallel, "pillow", False, "recipe official, as the original code")
