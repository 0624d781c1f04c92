"""How a published model was trained, as far as its files do not say: sequence end and image path.

A model acts well only on inputs made as in its training. What is known about the families is here,
in one place. A recipe decides all of it together; the configuration can set each value by itself,
and the plan shows which came from where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from rlinf.models.prismatic.adapter_folder import AdapterFolder
from rlinf.models.prismatic.model_folder import ModelFolder

ImagePath = Literal["pillow", "tensor", "jpeg"]
Family = Literal["official", "rlinf"]
NOTED = "rlinf"
"""Key of config.json under which our exports keep their recipe."""
RECIPE = "recipe"
"""Key of the record beside an adapter of ours that holds its recipe."""
_RLINF_NAMES = ("rlinf", "rlvla")  # in the names of folders trained with the RLinf recipe
_LIBERO = "libero"  # in names of data sets and folders


@dataclass(frozen=True, slots=True)
class Recipe:
    """The inputs a model was trained on."""

    end_token: bool  # `</s>` after the action placeholders (OpenVLA-OFT)
    image_path: ImagePath
    center_crop: bool
    origin: str  # which recipe it is and why
    own: tuple[str, ...] = ()  # names of the values that the configuration sets by itself

    def with_own(self, image_path: ImagePath | None, center_crop: bool | None) -> Recipe:
        """With what the configuration sets by itself; None follows the recipe."""
        given = {"image_path": image_path, "center_crop": center_crop}
        own = {name: value for name, value in given.items() if value is not None}
        return replace(self, **own, own=tuple(own))  # type: ignore[arg-type]

    def noted(self) -> dict[str, object]:
        """As it is kept in an export's config.json."""
        return {
            "end_token": self.end_token,
            "image_path": self.image_path,
            "center_crop": self.center_crop,
        }

    def __str__(self) -> str:
        end = "with </s> at the end" if self.end_token else "no </s> at the end"
        path = f"image path {self.image_path}"
        crop = "centre crop of 90 % of the area" if self.center_crop else "no centre crop"
        return f"{self.origin}: {end}, {path}{self._set_by('image_path')}, " + (
            f"{crop}{self._set_by('center_crop')}"
        )

    def _set_by(self, name: str) -> str:
        return f" (set by actor.model.{name})" if name in self.own else ""


def resolve(
    folder: ModelFolder,
    adapter: AdapterFolder | None,
    family: Family | None,
    parallel: bool,
    data_set: str,
) -> Recipe:
    """The recipe of a model: the one asked for; or what an export of ours notes; or by names.

    An adapter was trained last, so that what it says comes before what its model says.

    Args:
        folder: of the model.
        adapter: put on it.
        family: asked for; None follows the origin of the files.
        parallel: OpenVLA-OFT, which decodes all tokens at once.
        data_set: the model was trained on.
    """
    names = [*([adapter.path.name] if adapter else []), folder.path.name]
    libero = _LIBERO in " ".join([data_set, *names[:1]]).lower()
    if family is not None:
        return _of(family, parallel, libero, "actor.model.recipe")
    noted = [
        (adapter.record.get(RECIPE) if adapter else None, "noted beside the adapter"),
        (folder.settings.get(NOTED), "noted in config.json"),
    ]
    for found, where in noted:
        if isinstance(found, dict) and found.get("image_path") in get_args(ImagePath):
            return _noted(found, where)
    names.append(_last(str(folder.settings.get("_name_or_path", ""))))
    for name in names:
        if any(part in name.lower() for part in _RLINF_NAMES):
            return _of("rlinf", parallel, libero, f"the name {name}")
    return _of("official", parallel, libero, "default")


def _of(family: Family, parallel: bool, libero: bool, why: str) -> Recipe:
    """What a family trains with; the official evaluation on LIBERO has a path of its own."""
    if family == "rlinf":
        return Recipe(False, "tensor", False, f"rlinf ({why})")
    if libero:
        return Recipe(parallel, "jpeg", True, f"official on LIBERO ({why})")
    return Recipe(parallel, "pillow", False, f"official ({why})")


def _noted(found: Mapping[str, Any], where: str) -> Recipe:
    return Recipe(
        bool(found.get("end_token")), found["image_path"], bool(found.get("center_crop")), where
    )


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
