"""What IsaacLab and mjlab cost, each in its own Python; `envs.py` prints it.

Three processes take turns: the simulator's own loop, our adapter, and the simulator's own loop with
pictures in every step, as its tasks have them. Then the loop and a batch as runs use it, which gets
its actions chunk by chunk.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil

from meter import spend
from rlinf.config.schema import EnvConfig
from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeRules
from rlinf.envs.factory import hosting
from rlinf.envs.hosting.batch import ProcessBatch
from rlinf.envs.hosting.interpreter import Interpreter
from rlinf.envs.hosting.process import HostProcess
from rlinf.registry import simulator as spec_of
from turns import TIMEOUT_S, ask, compared, end, turns_of

LENGTH, CHUNKS = 8, 2  # actions of a chunk, chunks of a turn
TURNS = 6  # of a round
WORK = {"step": 8, "look": 3, "reset": 2}  # of a turn
SIDES = ("bare", "adapter", "drawing")
SIZES: dict[str, tuple[int, dict[str, Any]]] = {
    "isaaclab_stack_cube": (4, {"camera_size": (64, 64)}),
    "isaaclab_reach": (32, {}),
    "mjlab_cartpole": (64, {"cameras": ("main",), "camera_size": (64, 64)}),
}
"""Environments -> envs stepped at once, and settings that differ from their files."""


class Loops:
    """One process with one of the sides."""

    def __init__(self, env: EnvConfig, num_envs: int, side: str, log: Path) -> None:
        """Starts it, up to the first observation."""
        spec, settings = spec_of(env.simulator_type), env.init_params.model_dump(mode="json")
        made: tuple[Any, ...] = ("managers.loops:Adapter", spec.build, num_envs, settings)
        if side != "adapter":
            drawing = side == "drawing"
            made = ("managers.loops:Bare", env.simulator_type, num_envs, settings, drawing)
        where = Interpreter(hosting(env), made[0])
        self._hosts = {0: HostProcess(side, log, where)}
        ask(self._hosts, "build", [made])
        ask(self._hosts, "look", [()])

    def seconds(self, what: str, count: int) -> float:
        """CPU seconds of one; see `managers.loops.Side`."""
        found: float = ask(self._hosts, "seconds", [(what, count)])[0]
        return found

    def chunks(self, count: int) -> None:
        """Some steps with a look at the end."""
        for _ in range(count):
            ask(self._hosts, "chunk", [(LENGTH,)])

    def end(self) -> None:
        """Closes the simulator."""
        end(self._hosts.values())


def measure(name: str, env: EnvConfig, rounds: int) -> dict[str, Any]:
    """CPU seconds of both sides, of starting them, and of a chunk as runs have it."""
    num_envs, changes = SIZES.get(name, (4, {}))
    env = env.model_copy(update={"init_params": env.init_params.model_copy(update=changes)})
    with tempfile.TemporaryDirectory(prefix="rlinf-benchmark-") as folder, ExitStack() as stack:
        log = Path(folder) / "processes.log"
        Loops(env, num_envs, "adapter", log).end()  # compiles what has to be compiled
        sides: dict[str, Loops] = {}
        starts: dict[str, dict[str, float]] = {}
        for side in SIDES:
            sides[side], spent = spend(partial(Loops, env, num_envs, side, log))
            stack.callback(sides[side].end)
            starts[side] = {"cpu_seconds": spent.cpu_each_s, "wall_seconds": spent.wall_s}
        found = {
            "envs_at_once": num_envs,
            "start": starts,
            "cpu_seconds": _in_turns(sides, rounds * TURNS),
            "chunk": _as_in_runs(env, num_envs, sides["bare"], rounds * TURNS, log),
        }
    return found


def _in_turns(sides: dict[str, Loops], turns: int) -> dict[str, dict[str, float]]:
    """CPU seconds of one step, look and reset of all envs, and of a step with one that waits."""
    rows: dict[str, dict[str, list[float]]] = {side: {} for side in sides}
    for turn in range(1 + turns):
        for what, count in WORK.items():
            for side in sorted(sides, reverse=bool(turn % 2)):
                taken = sides[side].seconds(what, count)
                if turn > 0:  # the first warms up
                    rows[side].setdefault(what, []).append(taken)
        if turn > 0:
            waiting = sides["adapter"].seconds("waiting", WORK["step"])
            rows["adapter"].setdefault("waiting", []).append(waiting)
    found: dict[str, dict[str, float]] = {side: {} for side in sides}
    for what in WORK:
        both = compared({side: rows[side][what] for side in ("bare", "adapter")})
        for side, seconds in both.items():
            found[side][what] = seconds
    found["drawing"]["step"] = median(rows["drawing"]["step"])
    found["adapter"]["waiting"] = median(rows["adapter"]["waiting"])
    return found


def _as_in_runs(
    env: EnvConfig, num_envs: int, bare: Loops, turns: int, log: Path
) -> dict[str, dict[str, float]]:
    """An env step of chunks with a look at the end: all processes, messages included."""
    rules = EpisodeRules(max_episode_steps=100_000, final="none")
    settings = env.init_params.model_dump(mode="json")
    build = spec_of(env.simulator_type).build
    before = _simulators()
    batch = ProcessBatch(build, settings, num_envs, rules, 1, log, TIMEOUT_S, hosting=hosting(env))
    ours = _simulators() - before
    starts = [Start(0, -1, 2 * i) for i in range(num_envs)]
    batch.start(np.arange(num_envs), starts)
    everyone, random = np.ones(num_envs, bool), np.random.default_rng(0)
    shape = (num_envs, LENGTH, batch.action_dim)

    def run_ours() -> None:
        for _ in range(CHUNKS):
            actions = random.uniform(-0.02, 0.02, shape).astype(np.float32)
            batch.run_chunk(actions, everyone, starts)

    try:
        return turns_of(
            {"bare": (lambda: bare.chunks(CHUNKS), before), "adapter": (run_ours, ours)},
            turns,
            CHUNKS * LENGTH * num_envs,
        )
    finally:
        batch.close()


def _simulators() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))
