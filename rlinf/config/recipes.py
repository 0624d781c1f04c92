"""Recipes for one GPU (`config/hardware`) say which models they are for, in a section `hardware`.

Their keys are those of other models, too, and mean something else there: a wrong recipe would be
answered key by key, or would not fit the GPU that it is named after.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from rlinf.config.compose import CONFIG_DIR
from rlinf.config.tree import Tree, get
from rlinf.errors import UserError

SECTION = "hardware"


def take(plain: Tree) -> None:
    """Removes the section, which is for this check alone.

    Raises:
        UserError: the recipe is for other models; names the one for the same GPU.
    """
    section = plain.pop(SECTION, None)
    if section is None:
        return
    name, models = _parts(section)
    model = get(plain, "actor.model.model_type")
    if model not in models:
        raise UserError(
            f"{SECTION} = {name}: a recipe for {' and '.join(models)}; actor.model.model_type is "
            f"{model}",
            _instead(name, str(model)),
        )


def _parts(section: Any) -> tuple[str, list[str]]:
    """Name and models of a recipe."""
    if isinstance(section, dict) and set(section) == {"recipe", "models"}:
        return str(section["recipe"]), [str(model) for model in section["models"]]
    raise UserError(
        f"{SECTION} = {section}: must be a section with the keys recipe and models",
        f"take a file of {CONFIG_DIR / SECTION} as an example, or remove the section",
    )


def _instead(name: str, model: str) -> str:
    """The recipe of the model for a GPU of that size; else those that there are."""
    found = [path.stem for path in sorted(recipes()) if model in _models_of(path)]
    size = re.search(r"\d+gb", name)
    same = [other for other in found if size and size[0] in other]
    if same or found:
        return f"take {' or '.join(f'+{SECTION}={other}' for other in same or found)}"
    return f"leave +{SECTION}={name} out: {model} needs no recipe"


def recipes() -> list[Path]:
    """The shipped recipes."""
    return list((CONFIG_DIR / SECTION).glob("*.yaml"))


def _models_of(recipe: Path) -> list[str]:
    return _parts(yaml.safe_load(recipe.read_text())[SECTION])[1]
