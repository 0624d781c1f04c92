"""How a published model was trained, as far as its files do not say: sequence end and image path.

A model acts well only on inputs made as in its training. What is known about the families is here,
in one place; each value can be set in the configuration, and the plan shows what was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rlinf.config.model_folder import ModelFolder

ImagePath = Literal["pillow", "tensor", "jpeg"]
NOTED = "rlinf"
"""Key of config.json under which our exports keep their recipe."""
FOLDED = "folded_in"
"""Key below it: names of the adapters that are part of an export's weights."""
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
        end = "with </s>" if self.end_token else "no </s>"
        return f"{self.origin}: {end} at the end, images by the path {self.image_path}, {crop}"


def resolve(folder: ModelFolder, parallel: bool, unnorm_key: str) -> Recipe:
    """The recipe of a model folder: by what an export of ours notes, by the family's name, or else
    that of the original code.

    Args:
        folder: whose recipe it is.
        parallel: OpenVLA-OFT, which decodes all tokens at once.
        unnorm_key: data set the model was trained on.
    """
    noted = folder.settings.get(NOTED)
    if isinstance(noted, dict) and noted.get("image_path") in get_args(ImagePath):
        return Recipe(
            bool(noted.get("end_token")),
            noted["image_path"],
            bool(noted.get("center_crop")),
            "noted in config.json",
        )
    name = f"{folder.path.name} {folder.settings.get('_name_or_path', '')}".lower()
    if any(part in name for part in _RLINF_NAMES):
        return Recipe(False, "tensor", False, "rlinf, by the folder's name")
    if parallel and "libero" in unnorm_key:
        return Recipe(True, "jpeg", True, "official, as OpenVLA-OFT on LIBERO")
    return Recipe(parallel, "pillow", False, "official, as the original code")
