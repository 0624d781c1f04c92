"""What each environment costs, and what our adapter adds to its simulator's own loop.

See README.md beside this file for what the numbers mean.

    python benchmarks/envs.py libero_spatial_ppo_tiny quickstart toy_ppo_mlp
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

import record
from meter import spend
from rlinf.config.load import load
from rlinf.config.schema import EnvConfig
from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.factory import make_simulator
from rlinf.envs.vector import ProcessBatch

PROCESSES = (1, 2)
STEPS = 40  # of a measurement without images
LOOKS = 10  # images of a measurement


class Bare(NamedTuple):
    """The simulator's own loop with one env, as its documentation has it."""

    step: Callable[[np.ndarray], object]  # without images
    look: Callable[[], object]  # the images and states that the adapter shows, rendered now
    reset: Callable[[], object]
    close: Callable[[], object]


def main() -> int:
    """Measures the training environments of some configurations and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG")
    parser.add_argument("--rounds", type=int, default=3, help="turns (default %(default)s)")
    parser.add_argument("--write", action="store_true", help="write a file into results/")
    arguments = parser.parse_args()
    table = Table("environment", "what", "bare", "adapter", "over", *map(_processes, PROCESSES))
    numbers: dict[str, Any] = {}
    for name in arguments.configs:
        with tempfile.TemporaryDirectory(prefix="rlinf-benchmark-") as folder:
            env = load(name, [f"runner.logger.log_path={folder}/run"]).config.env.train
            numbers[name] = measure(env, arguments.rounds, Path(folder))
        _add_rows(table, name, numbers[name])
    console = Console()
    console.print(table)
    if arguments.write:
        console.print(f"written to {record.write('envs', record.record(numbers))}")
    return 0


def measure(env: EnvConfig, rounds: int, folder: Path) -> dict[str, Any]:
    """CPU seconds of one step, look and reset: bare, through the adapter, and in sub-processes."""
    adapter = _adapter(env)
    bare = BARE[env.simulator_type](env)
    actions = np.random.default_rng(0).uniform(-1, 1, (STEPS, adapter.action_dim))
    actions = actions.astype(np.float32)
    only, active = np.zeros(1, np.int64), np.ones(1, bool)
    sides: dict[str, Bare] = {
        "bare": bare,
        "adapter": Bare(
            lambda action: adapter.step(action[None], active),
            lambda: adapter.observe(only),
            lambda: adapter.reset(only, [Start(0, 0, 2)]),
            adapter.close,
        ),
    }
    found: dict[str, dict[str, list[float]]] = {
        side: {"step": [], "look": [], "reset": []} for side in sides
    }
    for turn in range(rounds + 1):
        for side, loop in sides.items():
            row = {
                "reset": _cpu(loop.reset, 1),
                "step": _cpu(lambda loop=loop: [loop.step(a) for a in actions], STEPS),  # type: ignore[misc]
                "look": _cpu(lambda loop=loop: [loop.look() for _ in range(LOOKS)], LOOKS),  # type: ignore[misc]
            }
            if turn > 0:  # the first warms up
                for what, seconds in row.items():
                    found[side][what].append(seconds)
    for loop in sides.values():
        loop.close()
    least = {side: {what: min(v) for what, v in rows.items()} for side, rows in found.items()}
    return {
        "cpu_seconds": least,
        "overhead": {
            what: least["adapter"][what] / least["bare"][what] - 1 for what in least["bare"]
        },
        "processes": {str(count): _in_processes(env, count, folder) for count in PROCESSES},
    }


def _in_processes(env: EnvConfig, count: int, folder: Path) -> dict[str, float]:
    """Chunks of 8 steps with an image at the end, one env in each of `count` sub-processes."""
    rules = EpisodeRules(max_episode_steps=10_000, final="none")
    batch = ProcessBatch(
        partial(make_simulator, env), count, rules, count, folder / "processes.log", 600.0
    )
    ids, everyone = np.arange(count), np.ones(count, bool)
    starts = [Start(0, 0, 2)] * count
    shape = (count, 8, batch.action_dim)
    actions = np.random.default_rng(0).uniform(-0.1, 0.1, shape).astype(np.float32)
    try:
        batch.start(ids, starts)
        batch.run_chunk(actions, everyone, starts)  # warms up
        _, spent = spend(
            lambda: [batch.run_chunk(actions, everyone, starts) for _ in range(5)], 5 * 8 * count
        )
        children = psutil.Process().children(recursive=True)
        memory = [child.memory_info().rss for child in children]
    finally:
        batch.close()
    return {
        "env_steps_per_second": 1.0 / spent.wall_each_s,
        "cpu_seconds_per_env_step": spent.cpu_each_s,
        "memory_gb_per_process": median(memory) / 1e9,
    }


def _adapter(env: EnvConfig) -> Any:
    return make_simulator(env, 1)


def _cpu(work: Callable[[], object], count: int) -> float:
    """CPU seconds of this process, threads included, per repetition."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / count


# --- the simulators' own loops -------------------------------------------------------------------


def bare_libero(env: EnvConfig) -> Bare:
    """LIBERO's wrapper with a hard reset; its images are those of both cameras in every step."""
    from libero.libero.envs import OffScreenRenderEnv

    from rlinf.config.libero import LiberoParams
    from rlinf.envs.libero.suites import tasks_of

    params = env.init_params
    assert isinstance(params, LiberoParams)
    size = params.resolved().camera_size
    task = tasks_of(params)[0]
    states = task.init_states()
    made = OffScreenRenderEnv(
        bddl_file_name=str(task.problem),
        camera_names=list(params.cameras),
        camera_heights=size,
        camera_widths=size,
        ignore_done=True,
    )
    inner = made.env
    rendering = [name for name in inner._observables if name.endswith("_image")]

    def draw() -> list[np.ndarray]:
        inner.sim._render_context_offscreen.gl_ctx.make_current()
        return [inner.sim.render(camera_name=c, width=size, height=size) for c in params.cameras]

    def reset() -> None:
        inner.sim._render_context_offscreen.gl_ctx.make_current()
        made.seed(0)
        inner.reset()
        made.set_init_state(states[0])
        for name in rendering:  # afterwards steps are without images
            inner._observables[name]._enabled = False
        for _ in range(params.resolved().settle_steps):
            made.step([0, 0, 0, 0, 0, 0, -1])

    return Bare(made.step, draw, reset, inner.close)


def bare_maniskill(env: EnvConfig) -> Bare:
    """`gymnasium.make` and the env's own methods."""
    from rlinf.config.simulators import ManiskillParams
    from rlinf.envs.maniskill.building import look, make_env
    from rlinf.envs.maniskill.light_visuals import use_collision_hulls_as_visuals

    params = env.init_params
    assert isinstance(params, ManiskillParams)
    made = make_env(params, 1, "cpu")
    if params.light_visuals:
        use_collision_hulls_as_visuals(made)
    return Bare(made.step, lambda: look(made, params, {}), lambda: made.reset(seed=2), made.close)


def bare_toy(env: EnvConfig) -> Bare:
    """The toy has no loop of its own: it is measured against itself."""
    simulator = make_simulator(env, 1)
    only, active = np.zeros(1, np.int64), np.ones(1, bool)
    return Bare(
        lambda action: simulator.step(action[None], active),
        lambda: simulator.observe(only),
        lambda: simulator.reset(only, [Start(0, 0, 2)]),
        simulator.close,
    )


BARE: dict[str, Callable[[EnvConfig], Bare]] = {
    "libero": bare_libero,
    "maniskill": bare_maniskill,
    "toy_reach": bare_toy,
}


# --- the table -----------------------------------------------------------------------------------


def _processes(count: int) -> str:
    return f"{count} process" + ("es" if count > 1 else "")


def _add_rows(table: Table, name: str, numbers: dict[str, Any]) -> None:
    seconds = numbers["cpu_seconds"]
    for what in ("step", "look", "reset"):
        bare, adapter = (seconds[side][what] * 1000 for side in ("bare", "adapter"))
        over = f"{numbers['overhead'][what]:+.0%}"
        table.add_row(name, f"{what}, CPU ms", f"{bare:.2f}", f"{adapter:.2f}", over, "", "")
        name = ""
    shares = numbers["processes"].values()
    for what, title in (
        ("env_steps_per_second", "env steps per second, image every 8th"),
        ("cpu_seconds_per_env_step", "CPU s per env step"),
        ("memory_gb_per_process", "memory per process, GB"),
    ):
        table.add_row("", title, "", "", "", *(f"{share[what]:.3g}" for share in shares))


if __name__ == "__main__":
    raise SystemExit(main())
