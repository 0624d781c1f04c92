"""Names in the configuration -> classes, as import paths: nothing heavy loads until asked for.

A new simulator is a line here; a new model is a line here and a class in `rlinf/config/models.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from rlinf.errors import UserError

MODELS: dict[str, str] = {
    "openvla": "rlinf.models.openvla.policy:OpenVlaPolicy",
    "openvla_oft": "rlinf.models.openvla_oft.policy:OpenVlaOftPolicy",
    "mlp": "rlinf.models.mlp.policy:MlpPolicy",
    "tiny_vla": "rlinf.models.tiny_vla.policy:TinyVlaPolicy",
}
"""`actor.model.model_type` -> policy class, built from its configuration section."""

SIMULATORS: dict[str, tuple[str, str]] = {
    "maniskill": (
        "rlinf.config.simulators:ManiskillParams",
        "rlinf.envs.maniskill.backends:make_maniskill",
    ),
    "libero": ("rlinf.config.libero:LiberoParams", "rlinf.envs.libero.env:make_libero"),
    "toy_reach": (
        "rlinf.config.simulators:ToyReachParams",
        "rlinf.envs.toy.reach:make_toy_reach",
    ),
}
"""`env.*.simulator_type` -> class of its `init_params`, and what builds a `Simulator` from (number
of envs, `init_params`). The class is imported with the configuration, so its module loads fast."""

SHARED_MODULES: dict[str, tuple[str, ...]] = {
    "libero": ("rlinf.envs.libero.libraries",),
    "maniskill": ("rlinf.envs.maniskill.backends",),
}
"""Simulator -> modules that its sub-processes import once for all of them (`envs/template.py`).
They must not load a renderer's driver, open a GPU or start a thread."""

RENDERERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "libero": ("rlinf.envs.libero.opengl:draw", ("egl", "osmesa")),
    "maniskill": ("rlinf.envs.maniskill.drawing:draw", ("gpu",)),
}
"""Simulator -> function that draws a test frame with a backend, and the backends to try."""

ASSETS: dict[str, str] = {
    "libero": "rlinf.assets.libero:assets",
    "maniskill": "rlinf.assets.maniskill:assets",
}
"""`rlinf assets download` -> function that lists the `Asset`s of a simulator."""

BENCHMARKS: dict[str, str] = {
    "maniskill_ood": "rlinf.envs.maniskill.put_on_plate.benchmark:ood",
}
"""`rlinf eval --benchmark` -> function that gives the `Benchmark`."""

EXPERTS: dict[str, str] = {
    "libero_pick_place": "rlinf.envs.libero.experts:pick_place",
    "push_cube": "rlinf.envs.maniskill.demonstrators:push_cube",
}
"""`imitation.expert` -> function (simulator, settings, rng) that gives an expert for env 0."""

EXPERT_TASKS: dict[str, tuple[str, str]] = {
    "libero_pick_place": ("libero", "libero_spatial"),
    "push_cube": ("maniskill", "PushCube-v1"),
}
"""`imitation.expert` -> `simulator_type` and `init_params.id` of the task it can do."""


def resolve(table: Mapping[str, str], name: str) -> Any:
    """Imports and returns what `name` stands for in one of the tables above."""
    if name not in table:
        near = get_close_matches(name, table, n=1)
        raise UserError(
            f"unknown name '{name}'; there are {', '.join(table)}",
            f"write {near[0]}" if near else "write one of them",
        )
    return imported(table[name])


def imported(path: str) -> Any:
    """What `module:attribute` stands for."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
