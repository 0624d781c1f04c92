"""LIBERO-Pro as its table has it: four suites, each changed in four ways."""

from __future__ import annotations

from rlinf.envs.benchmarks import Benchmark, BenchmarkSet

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
