"""What each environment costs, and what our adapter adds to its simulator's own loop.

See README.md beside this file for what the numbers mean.

    python benchmarks/envs.py                # the four environments of `ENVS`
    python benchmarks/envs.py libero_spatial # a file of examples/embodiment/config/env
    python benchmarks/envs.py isaaclab_stack_cube isaaclab_reach mjlab_cartpole --rounds 1
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from rich.console import Console
from rich.table import Table

import own_python
import record
from bare import LOOPS, START, Loop, read
from rlinf.config.schema import EnvConfig
from rlinf.envs.base import Simulator
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.factory import hosting, make_simulator
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.hosting.fork_server import obtain, release
from rlinf.envs.hosting.process import HostProcess
from rlinf.registry import simulator as spec_of
from turns import TIMEOUT_S, ask, compared, end, turns_of

ENVS = ("toy_reach", "maniskill_push_cube", "maniskill_put_on_plate", "libero_spatial_tiny")
FILES = Path(__file__).parents[1] / "examples/embodiment/config/env"
PROCESSES = (1, 2)
TURNS = 6  # of a round
WORK = {"reset": 2, "step": 10, "look": 4}  # of a turn in one process
LENGTH, CHUNKS = 8, 6  # actions of a chunk, chunks of a turn in several processes


def main() -> int:
    """Measures some environments and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("envs", nargs="*", metavar="ENV", default=ENVS)
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--write", action="store_true", help="write a file for each into results/")
    arguments = parser.parse_args()
    table = Table("environment", "CPU milliseconds of", "bare", "adapter", "over")
    spawn = get_context("spawn")
    for name in arguments.envs:  # in a process of its own: simulators do not like each other
        with ProcessPoolExecutor(1, spawn) as process:
            numbers = process.submit(measure, name, load(name), arguments.rounds).result()
        add = _add_rows if "episode_steps" in numbers else _add_batched_rows
        add(table, name, numbers)
        if arguments.write:  # now: a stopped benchmark keeps what it has
            case = f"envs-{name.replace('_', '-')}"
            written = record.write(case, record.record({name: numbers}))
            print(f"written to {written}")
    Console().print(table)
    return 0


def load(name: str) -> EnvConfig:
    """An environment as a file of the configurations has it."""
    return read(yaml.safe_load((FILES / f"{name}.yaml").read_text()))


def measure(name: str, env: EnvConfig, rounds: int) -> dict[str, Any]:
    """CPU seconds of the loop and of the adapter: in one process, and in sub-processes."""
    if spec_of(env.simulator_type).python is not None:
        return own_python.measure(name, env, rounds)
    seconds = _in_turns(env, rounds)
    for times in seconds.values():
        steps = env.max_episode_steps
        looks = math.ceil(steps / LENGTH)
        times["episode"] = times["reset"] + steps * times["step"] + looks * times["look"]
    found: dict[str, Any] = {"episode_steps": env.max_episode_steps, "cpu_seconds": seconds}
    if env.init_params.processes(1, on_accelerator=False):
        with tempfile.TemporaryDirectory(prefix="rlinf-benchmark-") as folder:
            log = Path(folder) / "processes.log"
            found["processes"] = {
                str(count): _in_processes(env, count, rounds, log) for count in PROCESSES
            }
    return found


def _in_turns(env: EnvConfig, rounds: int) -> dict[str, dict[str, float]]:
    """CPU seconds of one step, look and reset, with both in this process."""
    simulator = make_simulator(env, 1)
    sides = {"adapter": _adapter(simulator)}
    if env.simulator_type in LOOPS:
        sides["bare"] = LOOPS[env.simulator_type](env)
    actions = _moves(simulator.action_dim)
    found: dict[str, dict[str, list[float]]] = {s: {w: [] for w in WORK} for s in sides}
    for turn in range(1 + rounds * TURNS):
        for what, count in WORK.items():
            if what == "reset" and turn % TURNS > 1:
                continue
            spent = dict.fromkeys(sides, 0.0)
            for repeat in range(count):
                move = (next(actions),) if what == "step" else ()
                for side in sorted(sides, reverse=bool(repeat % 2)):
                    began = time.process_time()
                    getattr(sides[side], what)(*move)
                    spent[side] += (time.process_time() - began) / count
            if turn > 0:  # the first warms up
                for side, seconds in spent.items():
                    found[side][what].append(seconds)
    for loop in sides.values():
        loop.close()
    by_work = {w: compared({side: rows[w] for side, rows in found.items()}) for w in WORK}
    return {side: {w: by_work[w][side] for w in WORK} for side in sides}


def _adapter(simulator: Simulator) -> Loop:
    only, active = np.zeros(1, np.int64), np.ones(1, bool)
    return Loop(
        lambda action: simulator.step(action[None], active),
        lambda: simulator.observe(only),
        lambda: simulator.reset(only, [START]),
        simulator.close,
    )


def _moves(*shape: int) -> Iterator[np.ndarray]:
    """Small random actions of this shape without an end, the same for everybody."""
    random = np.random.default_rng(0)
    while True:
        yield random.uniform(-0.1, 0.1, shape).astype(np.float32)


def _in_processes(
    env: EnvConfig, count: int, rounds: int, log: Path
) -> dict[str, dict[str, float]]:
    """Chunks of 8 steps with a look at the end, one env in each of `count` sub-processes.

    CPU seconds are those of all processes, this one and its messages included.
    """
    rules = EpisodeRules(max_episode_steps=100_000, final="none")
    settings = env.init_params.model_dump(mode="json")
    build = spec_of(env.simulator_type).build
    everyone, starts = np.ones(count, bool), [START] * count
    with ExitStack() as stack:
        server = obtain(hosting(env), log)
        stack.callback(release, server)
        batch = ProcessBatch(
            build, settings, count, rules, count, log, TIMEOUT_S, hosting=hosting(env)
        )
        stack.callback(batch.close)
        ours = _simulators()
        hosts = {i: HostProcess(f"env {i}", log, server) for i in range(count)}
        stack.callback(end, hosts.values())
        actions = next(_moves(count, LENGTH, batch.action_dim))
        batch.start(np.arange(count), starts)
        ask(hosts, "build", [("bare:Chunks", env.model_dump(mode="json"))] * count)
        theirs = _simulators() - ours

        def run_ours() -> None:
            for _ in range(CHUNKS):
                batch.run_chunk(actions, everyone, starts)

        def run_theirs() -> None:
            for _ in range(CHUNKS):
                ask(hosts, "run", [(own,) for own in actions])

        sides = {"bare": (run_theirs, theirs), "adapter": (run_ours, ours)}
        return turns_of(sides, rounds * TURNS, CHUNKS * LENGTH * count)


def _simulators() -> set[psutil.Process]:
    """Sub-processes of fork servers."""
    below = psutil.Process().children(recursive=True)
    return {process for process in below if process.name() == "rlinf-simulator"}


def _add_rows(table: Table, name: str, numbers: dict[str, Any]) -> None:
    steps, seconds = numbers["episode_steps"], numbers["cpu_seconds"]
    for what, title in (
        ("step", "a step"),
        ("look", "a look"),
        ("reset", "a reset"),
        ("episode", f"an episode of {steps} steps"),
    ):
        _add_row(table, name, title, seconds, what, unit=1e-3)
        name = ""
    for count, sides in numbers.get("processes", {}).items():
        where = f"{count} process" + ("es" if count != "1" else "")
        _add_row(table, "", f"a step with {where}", sides, "cpu_seconds_per_env_step", unit=1e-3)
        _add_row(table, "", "  steps per second", sides, "env_steps_per_second")
        _add_row(table, "", "  own GB per process", sides, "own_memory_gb_per_process")


def _add_batched_rows(table: Table, name: str, numbers: dict[str, Any]) -> None:
    """Of a simulator that steps all envs at once."""
    seconds, starts, chunk = (numbers[key] for key in ("cpu_seconds", "start", "chunk"))
    _add_row(table, name, "starting the process", starts, "cpu_seconds", unit=1e-3)
    for what in ("step", "look", "reset"):
        title = f"a {what} of {numbers['envs_at_once']} envs"
        _add_row(table, "", title, seconds, what, unit=1e-3)
    waiting, drawing = seconds["adapter"]["waiting"], seconds["drawing"]["step"]
    table.add_row("", "  a step in which one waits", "", _shown(waiting * 1e3), "")
    table.add_row("", "  a step that draws", _shown(drawing * 1e3), "", "")
    _add_row(table, "", "an env step, in chunks", chunk, "cpu_seconds_per_env_step", unit=1e-3)
    _add_row(table, "", "  env steps per second", chunk, "env_steps_per_second")
    _add_row(table, "", "  own GB per process", chunk, "own_memory_gb_per_process")


def _add_row(
    table: Table,
    name: str,
    what: str,
    sides: Mapping[str, dict[str, float]],
    key: str,
    unit: float = 1.0,
) -> None:
    found = [sides[side][key] / unit for side in ("bare", "adapter") if side in sides]
    over = [f"{found[1] / found[0] - 1:+.0%}"] if len(found) == 2 else []
    shown = map(_shown, found)
    table.add_row(name, what, *[""] * (2 - len(found)), *shown, *over)


def _shown(value: float) -> str:
    """Three digits or whole numbers, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    raise SystemExit(main())
