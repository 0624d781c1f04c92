"""Which simulators and models there are. A new one is a folder with a spec and a line here.

A spec says what the rest has to know, as import paths: nothing heavy loads until it is used. A
package outside registers its own specs through the entry-point groups `rlinf.simulators` and
`rlinf.models`; the entry's name is the name in configurations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from rlinf.errors import UserError

SIMULATORS: dict[str, str] = {
    "maniskill": "rlinf.envs.maniskill.spec:SPEC",
    "libero": "rlinf.envs.libero.spec:SPEC",
    "libero_pro": "rlinf.envs.libero.spec:PRO",
    "libero_plus": "rlinf.envs.libero.spec:PLUS",
    "isaaclab": "rlinf.envs.isaaclab.spec:ISAACLAB",
    "mjlab": "rlinf.envs.isaaclab.spec:MJLAB",
    "behavior": "rlinf.envs.behavior.spec:SPEC",
    "toy_reach": "rlinf.envs.toy.spec:SPEC",
}
"""`env.*.simulator_type` -> its `SimulatorSpec`."""

MODELS: dict[str, str] = {
    "mlp": "rlinf.models.mlp.spec:SPEC",
    "tiny_vla": "rlinf.models.tiny_vla.spec:SPEC",
    "openvla": "rlinf.models.openvla.spec:SPEC",
    "openvla_oft": "rlinf.models.openvla_oft.spec:SPEC",
    "tiny_flow": "rlinf.models.tiny_flow.spec:SPEC",
    "gr00t": "rlinf.models.gr00t.spec:SPEC",
}
"""`actor.model.model_type` -> its `ModelSpec`."""


@dataclass(frozen=True, slots=True)
class Hosting:
    """How the processes of a simulator are started."""

    modules: tuple[str, ...] = ()
    """Imported once for all processes (`envs/hosting/fork_server.py`). They must not load a
    renderer's driver, open a GPU or start a thread."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the processes, such as their number of threads."""
    import_environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables while the modules are imported, and only then."""
    interpreter: str | None = None
    """Another Python that runs the processes; None: ours."""
    interpreter_fix: str = "set env.*.python to the simulator's Python"
    """What to do where there is no such Python."""


@dataclass(frozen=True, slots=True)
class OwnPython:
    """The Python that a simulator needs for itself, as its packages exclude ours.

    `requirements/install.sh --env NAME` makes its environment beside ours, `.venv-NAME`, with the
    packages of `requirements/NAME.txt`.
    """

    name: str
    """Of the environment."""
    version: str
    """Of Python, as `3.12`."""
    variable: str
    """Environment variable that names another executable; `env.*.python` goes before it."""
    package: str
    """What that Python has to have."""
    also: tuple[str, ...] = ()
    """Other packages whose versions `rlinf doctor` reports."""
    reads: tuple[str, ...] = ()
    """Environment variables of the simulator that `rlinf doctor` reports."""
    remarks: str | None = None
    """`module:function` from the versions of `package` and `also` to what else it reports."""
    executable: str = "python"
    """In the environment's `bin`."""
    oldest: str = ""
    """Oldest version of the package that will do; empty: any."""
    remains: str = ""
    """What is left to do after the installer, where it cannot bring everything."""

    def accepts(self, found: str) -> bool:
        """Whether a version of the package will do; its first two numbers count."""

        def parts(version: str) -> list[int]:
            return [int(part) for part in re.findall(r"\d+", version)[:2]]

        return parts(found) >= parts(self.oldest)


@dataclass(frozen=True, slots=True)
class Renderer:
    """How a simulator draws."""

    draw: str
    """Function that draws a test frame with a backend."""
    backends: tuple[str, ...]
    """Backends to try, in this order."""


@dataclass(frozen=True, slots=True)
class ExpertSpec:
    """A scripted expert for one task."""

    make: str
    """Function (simulator, `envs.experts.Demonstrating`, rng) that gives an expert for env 0."""
    task: str
    """Task that it can do (`init_params.task_id()`)."""


@dataclass(frozen=True, slots=True)
class SimulatorSpec:
    """What the rest has to know of a simulator. Every path is `module:attribute`."""

    settings: str
    """Class of `init_params`. It is imported with the configuration, so its module loads fast."""
    build: str
    """Builds a `Simulator` from a number of envs and, as keywords, the settings as plain values."""
    hosting: Hosting = field(default_factory=Hosting)
    """How its processes are started."""
    python: OwnPython | None = None
    """None: it runs under our Python."""
    from_first_gpu: bool = False
    """It is said to hang on GPUs where its workers do not begin at the first one."""
    ray_tracing: bool = False
    """It draws with ray tracing: pictures are poor on GPUs without cores for it."""
    extra: str | None = None
    """Extra of `pyproject.toml` that installs it; None: nothing has to be installed."""
    package: str | None = None
    """Package that is imported; a run is refused where it is missing."""
    renderer: Renderer | None = None
    """None: it draws without one."""
    assets: str | None = None
    """Function that lists its `Asset`s, for `rlinf assets download`; None: it needs none."""
    experts: Mapping[str, ExpertSpec] = field(default_factory=dict)
    """`imitation.expert` -> scripted expert."""
    benchmarks: Mapping[str, str] = field(default_factory=dict)
    """`rlinf eval --benchmark` -> function that gives the `Benchmark`."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What the rest has to know of a model. Every path is `module:attribute`."""

    settings: str
    """Class of `actor.model`. It is imported with the configuration, so its module loads fast."""
    policy: str
    """Class of the policy, built from its settings."""
    extra: str | None = None
    """Extra of `pyproject.toml` that installs it; None: nothing has to be installed."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of the names of published models -> who publishes them."""


@cache
def models() -> dict[str, ModelSpec]:
    """All models, ours first."""
    return registered(MODELS, "rlinf.models", ModelSpec)


def model(name: str) -> ModelSpec:
    """The model of a configuration."""
    return choose(models(), name)


@cache
def simulators() -> dict[str, SimulatorSpec]:
    """All simulators, ours first."""
    return registered(SIMULATORS, "rlinf.simulators", SimulatorSpec)


def simulator(name: str) -> SimulatorSpec:
    """The simulator of a configuration."""
    return choose(simulators(), name)


def experts() -> dict[str, tuple[str, ExpertSpec]]:
    """`imitation.expert` -> its simulator and the expert."""
    return {
        name: (simulator, expert)
        for simulator, spec in simulators().items()
        for name, expert in spec.experts.items()
    }


def benchmarks() -> dict[str, str]:
    """`rlinf eval --benchmark` -> function that gives the `Benchmark`."""
    return {name: path for spec in simulators().values() for name, path in spec.benchmarks.items()}


def renderers() -> dict[str, Renderer]:
    """The simulators that draw with a renderer."""
    return {name: spec.renderer for name, spec in simulators().items() if spec.renderer}


def assets() -> dict[str, str]:
    """The simulators that need assets -> function that lists these."""
    return {name: spec.assets for name, spec in simulators().items() if spec.assets}


T = TypeVar("T")


def choose(table: Mapping[str, T], name: str) -> T:
    """What `name` stands for in a table.

    Raises:
        UserError: there is no such name.
    """
    if name not in table:
        near = get_close_matches(name, table, n=1)
        raise UserError(
            f"unknown name '{name}'; there are {', '.join(table)}",
            f"write {near[0]}" if near else "write one of them",
        )
    return table[name]


def resolve(table: Mapping[str, str], name: str) -> Any:
    """Imports and returns what `name` stands for in a table of import paths."""
    return imported(choose(table, name))


def imported(path: str) -> Any:
    """What `module:attribute` stands for."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


def registered(ours: Mapping[str, str], group: str, kind: type[T]) -> dict[str, T]:
    """What a table and an entry-point group name, imported; the table's first.

    Raises:
        UserError: a name stands for two things, or for something that is no `kind`.
    """
    paths = dict(ours)
    for entry in entry_points(group=group):
        if entry.name in paths:
            raise UserError(
                f"{group}: the name {entry.name} stands for {paths[entry.name]} and for "
                f"{entry.value}",
                "remove one of the packages, or rename its entry point",
            )
        paths[entry.name] = entry.value
    specs = {name: imported(path) for name, path in paths.items()}
    for name, spec in specs.items():
        if not isinstance(spec, kind):
            raise UserError(
                f"{group}: {name} = {paths[name]} is no {kind.__name__}",
                "correct the entry point of its package",
            )
    return specs
