"""LIBERO-Pro and LIBERO-Plus as their tables have them: four suites, changed in several ways."""

from __future__ import annotations

from collections.abc import Iterable

from rlinf.envs.benchmarks import Benchmark, BenchmarkSet
from rlinf.envs.libero.config import CHANGED_TASKS, NEED_OWN_ASSETS, Category

_SUITES = {
    "Spatial": "libero_spatial",
    "Object": "libero_object",
    "Goal": "libero_goal",
    "Long": "libero_10",
}
_CHANGES = {"Obj": "object", "Pos": "swap", "Sem": "lan", "Task": "task"}


def pro() -> Benchmark:
    """The benchmark `libero_pro`."""
    return Benchmark(
        title="LIBERO-Pro",
        simulator_type="libero_pro",
        sets=tuple(
            BenchmarkSet(
                f"{suite}_{change}", f"{title} {column}", {"task_suite_name": f"{suite}_{change}"}
            )
            for title, suite in _SUITES.items()
            for column, change in _CHANGES.items()
        ),
        within="",
        remarks=(
            "Columns as published: Obj other objects, Pos exchanged places, Sem other words, Task "
            "another task. The column Env is left out: its tasks are not in the package.",
            "Instructions of Sem and Task are those inside the problem files, of Obj and Pos those "
            "of the task's name, as in LIBERO.",
        ),
    )


_CATEGORIES: dict[Category, str] = {
    "camera": "Camera",
    "robot": "Robot",
    "language": "Language",
    "light": "Light",
    "background": "Background",
    "noise": "Noise",
    "layout_added": "Layout",
    "layout_moved": "Layout",
}
_ONCE = (
    "Every task has one start, and counts once: columns and Total are successes over episodes, as "
    "published."
)


def plus() -> Benchmark:
    """The benchmark `libero_plus`."""
    return _plus("LIBERO-Plus", _CATEGORIES)


def plus_offline() -> Benchmark:
    """The benchmark `libero_plus_offline`: what needs no assets but LIBERO's."""
    return _plus(
        "LIBERO-Plus with LIBERO's assets",
        [category for category in _CATEGORIES if category not in NEED_OWN_ASSETS],
        "Left out: Light, Background, and the added objects of Layout. So neither Layout nor Total "
        "is the published one.",
    )


def _plus(title: str, categories: Iterable[Category], *remarks: str) -> Benchmark:
    return Benchmark(
        title=title,
        simulator_type="libero_plus",
        sets=tuple(
            BenchmarkSet(
                f"{suite}_{category}",
                _CATEGORIES[category],
                {"task_suite_name": suite, "category": category},
            )
            for category in categories
            for suite in CHANGED_TASKS
        ),
        within="",
        remarks=(_ONCE, *remarks),
        pooled=True,
    )
