"""One observation-action exchange: what asking costs beyond what the policy itself needs.

An env worker's side is measured, from the observation in its hands to the actions in its hands:
send the request, write the observation where it is trained on, wait, read the reply. The policy
is the quickstart's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from launch import launch
from meter import Spent, shares, spend, spread
from rlinf.cluster import cluster
from rlinf.cluster.group import RemotePolicy, WorkerGroup
from rlinf.config.load import load
from rlinf.data.random import derive
from rlinf.data.types import ActReply, Observation
from rlinf.workers.process import prepare_process
from rlinf.workers.rollout import RolloutWorker
from rlinf.workers.stage import PolicyService

CONFIG = "quickstart"
ENVS = (1, 16)
EXCHANGES = 48  # of a turn: an iteration of the quickstart
TARGET_MS = 3.0  # overhead, median
PIXELS = 64


class Turn(NamedTuple):
    """What a number of exchanges in a row took, one entry each, in seconds."""

    ask: list[float]  # from the request to the reply
    own: list[float]  # of that, what the policy needed
    own_cpu: list[float]


class TimedRollout(RolloutWorker):
    """A rollout worker that notes how long it computes."""

    spent: list[tuple[float, float]]  # wall and CPU seconds of each request

    def act(self, *request: Any) -> ActReply:
        """Answers as the rollout worker does."""
        began, cpu = time.perf_counter(), time.thread_time()
        reply = super().act(*request)
        self.spent.append((time.perf_counter() - began, time.thread_time() - cpu))
        return reply

    def forget(self) -> None:
        """Begins to count anew."""
        self.spent = []

    def computed(self) -> list[tuple[float, float]]:
        """What was noted since."""
        return self.spent


class Asker:
    """An env worker whose simulator takes no time."""

    def __init__(self, policy: PolicyService, log_dir: str) -> None:
        prepare_process("asker", log_dir)
        self.policy = policy
        self.random = np.random.default_rng(0)

    def ready(self) -> None:
        """Answers once the constructor is through."""

    def ask(self, envs: int, count: int) -> list[float]:
        """Seconds of each exchange."""
        images = self.random.integers(256, size=(envs, 1, PIXELS, PIXELS, 3), dtype=np.uint8)
        text = ("push the cube to the goal",) * envs
        observation = Observation(images, np.zeros((envs, 0), np.float32), text)
        seconds = []
        for t in range(count):
            keys = derive(0, t, np.arange(envs))
            began = time.perf_counter()
            self.policy.act(observation, keys, None, "train", 0)
            seconds.append(time.perf_counter() - began)
        return seconds


def measure(turns: int, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Turns of exchanges, batch sizes alternating."""
    loaded = load(CONFIG, ["cluster.component_placement=0", *overrides])
    numbers: dict[str, Any] = {"turns": turns, "exchanges_per_turn": EXCHANGES}
    found: dict[int, list[tuple[Turn, Spent]]] = {envs: [] for envs in ENVS}
    with cluster.start(loaded.config, loaded.plan.nodes) as machines:
        threads = loaded.plan.cores["rollout"]
        rollout = launch(
            *(loaded, machines, folder, "rollout", "exchange:TimedRollout"),
            config=loaded.config,
            rank=0,
            threads=threads,
        )
        policy = RemotePolicy(
            dict(enumerate(rollout.handles)), 0, loaded.config.runner.worker_timeout_s
        )
        asker = launch(loaded, machines, folder, "env", "exchange:Asker", policy=policy)
        for turn in range(turns + 1):
            for envs in ENVS:
                measured = _turn(rollout, asker, envs)
                if turn > 0:  # the first warms up
                    found[envs].append(measured)
    numbers["batches"] = {f"{envs} envs": _summary(rows) for envs, rows in found.items()}
    numbers["target_overhead_median_ms"] = TARGET_MS
    return numbers


def table(numbers: dict[str, Any]) -> Table:
    """Milliseconds of one exchange."""
    shown = Table(title=f"one exchange of {PIXELS}x{PIXELS} images, in milliseconds")
    for column in ("", "policy itself", "overhead: min", "median", "p90", "target", "CPU overhead"):
        shown.add_column(column, justify="left" if not column else "right")
    for name, batch in numbers["batches"].items():
        overhead = batch["overhead_ms"]
        shown.add_row(
            name,
            f"{batch['policy_ms']['median']:.2f}",
            *(f"{overhead[part]:.2f}" for part in ("min", "median", "p90")),
            f"< {TARGET_MS:.0f}",
            f"{batch['cpu_overhead_ms']['median']:.2f}",
        )
    return shown


def _turn(rollout: WorkerGroup, asker: WorkerGroup, envs: int) -> tuple[Turn, Spent]:
    rollout.call("forget").result()
    asked, spent = spend(lambda: asker.call("ask", envs, EXCHANGES).result()[0], EXCHANGES)
    own, own_cpu = zip(*rollout.call("computed").result()[0], strict=True)
    return Turn(asked, list(own), list(own_cpu)), spent


def _summary(rows: list[tuple[Turn, Spent]]) -> dict[str, Any]:
    """Milliseconds of one exchange."""
    ask, own, own_cpu = (
        1e3 * np.concatenate([turn[part] for turn, _ in rows]) for part in range(3)
    )
    cpu = [1e3 * spent.cpu_each_s - 1e3 * np.mean(turn.own_cpu) for turn, spent in rows]
    return {
        "policy_ms": spread(own.tolist()),
        "policy_cpu_ms": spread(own_cpu.tolist()),
        "overhead_ms": spread((ask - own).tolist()),
        "cpu_overhead_ms": spread([float(each) for each in cpu]),
        "cpu_by_process_ms": {
            role: 1e3 * seconds for role, seconds in shares([spent for _, spent in rows]).items()
        },
    }
