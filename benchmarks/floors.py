"""What the pipeline reaches of what its parts could do: the quickstart's simulator and policy.

A floor is the rate of one part alone, asked for the same chunks back to back. Parts that share
cores cannot both keep their rate, so a third bound asks how often the cores could do the work of
both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from launch import launch
from meter import Spent, shares, spend, spread
from rlinf.cluster import cluster
from rlinf.cluster.nodes import Cluster
from rlinf.config.load import Loaded, load
from rlinf.config.machine import this_machine
from rlinf.data.random import derive
from rlinf.data.types import ActionChunk, ActReply, Observation, Purpose, Trajectory
from rlinf.runners.run import Run, open_run
from rlinf.runners.workers import Workers
from rlinf.workers.env import EnvWorker
from rlinf.workers.rollout import RolloutWorker

CONFIG = "quickstart"
TURN = "env.train.max_steps_per_rollout_epoch=36"
"""A quarter of an iteration: the parts of a short turn meet cores of about the same speed."""
STAGES = (1, 2)
TARGET = 0.85  # of the slower floor, with two stages

Part = Callable[[int], int]  # number of an iteration -> env steps executed in it


class Measured(NamedTuple):
    """A turn of a part, or of the pipeline. All have equally many chunks to do."""

    env_steps: int  # executed; fewer than the chunks have where episodes end inside one
    spent: Spent

    @property
    def rate(self) -> float:
        """Turns per second."""
        return 1.0 / self.spent.wall_s

    @property
    def cpu_s(self) -> float:
        """CPU seconds."""
        return self.spent.cpu_each_s


class RandomActions:
    """A policy service that takes no time: what drives the simulator when it is alone."""

    def __init__(self, chunk: int, action_dim: int) -> None:
        self.shape = chunk, action_dim
        self.random = np.random.default_rng(0)

    def act(
        self,
        observation: Observation,
        keys: np.ndarray,
        final: Observation | None,
        purpose: Purpose,
        version: int,
    ) -> ActReply:
        """Uniform actions in [-1, 1]."""
        actions = self.random.uniform(-1, 1, (len(observation), *self.shape)).astype(np.float32)
        values = np.zeros((len(observation), 1), np.float32)
        chunk = ActionChunk(actions, {}, actions, values, version)
        judged = np.zeros(0 if final is None else len(final), np.float32)
        return ActReply(chunk, judged)

    def value(self, observation: Observation) -> np.ndarray:
        """No value."""
        return np.zeros(len(observation), np.float32)

    def publish(self, observation: Observation) -> Observation:
        """The observation is its own reference."""
        return observation


class SimulatorAlone(EnvWorker):
    """An env worker that need not wait for actions."""

    def ready(self) -> None:
        """Builds the simulators."""
        self.start()


class PolicyAlone(RolloutWorker):
    """A rollout worker that asks itself."""

    def answer(self, images: tuple[int, ...], requests: int) -> None:
        """Answers requests back to back, all with images of the given shape [B, V, H, W, 3]."""
        pixels = np.random.default_rng(0).integers(256, size=images, dtype=np.uint8)
        envs = images[0]
        text = ("push the cube to the goal",) * envs
        observation = Observation(pixels, np.zeros((envs, 0), np.float32), text)
        for t in range(requests):
            self.act(observation, derive(0, t, np.arange(envs)), None, "train", 0)


def measure(rounds: int, folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Each part and the pipeline in turns, for every number of stages."""
    found: dict[int, list[dict[str, Measured]]] = {stages: [] for stages in STAGES}
    with ExitStack() as stack:
        layouts: dict[int, Mapping[str, Part]] = {}
        machines: Cluster | None = None
        for stages in STAGES:
            loaded = load(
                CONFIG,
                [
                    TURN,
                    f"rollout.pipeline_stage_num={stages}",
                    f"runner.logger.log_path={folder / str(stages)}",
                    *overrides,
                ],
            )
            run = stack.enter_context(open_run(loaded.config))
            machines = machines or stack.enter_context(
                cluster.start(loaded.config, loaded.plan.nodes)
            )
            layouts[stages] = parts(loaded, machines, run, stack)
        for turn in range(rounds + 1):
            for stages, layout in layouts.items():
                names = sorted(layout, reverse=turn % 2 == 1)  # so that none is always the later
                row = {name: Measured(*spend(partial(layout[name], turn))) for name in names}
                if turn > 0:  # the first warms up
                    found[stages].append(row)
    return {
        "rounds": rounds,
        "overrides": list(overrides),
        "stages": {str(stages): _summary(rows) for stages, rows in found.items()},
        "target_of_slower_floor": TARGET,
    }


def parts(loaded: Loaded, machines: Cluster, run: Run, stack: ExitStack) -> Mapping[str, Part]:
    """The simulator alone, the policy alone, and the pipeline; one turn on call."""
    config, plan = loaded.config, loaded.plan
    model = config.actor.model
    workers = Workers(config, plan, machines, run, training=False)
    stack.callback(workers.close)
    workers.start()
    workers.env.call("start").result(timeout_s=config.runner.worker_timeout_s)
    simulator = launch(
        loaded,
        machines,
        run.folder,
        "env",
        "floors:SimulatorAlone",
        config=config,
        plan=plan,
        rank=0,
        world=1,
        policy=RandomActions(model.num_action_chunks, model.action_dim),
    )
    policy = launch(
        loaded,
        machines,
        run.folder,
        "rollout",
        "floors:PolicyAlone",
        config=config,
        rank=0,
        threads=plan.cores["rollout"],
    )
    size = config.env.train.init_params.spaces().image_size
    assert size is not None and len(workers.env) == 1, "images, and one env worker"
    requests = plan.batch.samples // plan.train.per_stage

    def answer(step: int) -> int:
        policy.call("answer", (plan.train.per_stage, 1, *size, 3), requests).result()
        return plan.batch.samples * model.num_action_chunks

    epochs = range(config.algorithm.rollout_epoch)
    return {
        "simulator": lambda step: _env_steps(
            simulator.call("rollout", step, 0, epochs).result()[0][0]
        ),
        "policy": answer,
        "pipeline": lambda step: _env_steps(workers.collect(step, epochs)[0]),
    }


def table(numbers: dict[str, Any]) -> Table:
    """Rates, and what the pipeline reaches."""
    shown = Table(title="the quickstart's rollout (medians of rounds)")
    for column in ("", *(f"{stages} stages" for stages in numbers["stages"]), "target"):
        shown.add_column(column, justify="left" if not column else "right")
    layouts = list(numbers["stages"].values())
    shown.add_row(
        "env steps/s", *(f"{a['env_steps_per_s']['median']:.0f}" for a in layouts), end_section=True
    )
    for name in ("simulator", "policy", "pipeline"):
        seconds = [f"{layout['wall_s'][name]['median']:.2f}" for layout in layouts]
        shown.add_row(f"s, {name}{'' if name == 'pipeline' else ' alone'}", *seconds)
    shown.add_row(
        "s, if the cores never waited",
        *(f"{a['cores_bound_s']['median']:.2f}" for a in layouts),
        end_section=True,
    )
    for name, title, target in (
        ("of_slower_floor", "rate / that of the slower part", f">= {TARGET} with 2"),
        ("of_smallest_bound", "rate / that of the tightest bound", ""),
        ("cpu_of_parts", "CPU s of the parts / of the pipeline", ""),
    ):
        shown.add_row(title, *(f"{a[name]['median']:.2f}" for a in layouts), target)
    return shown


def _env_steps(trajectories: Sequence[Trajectory]) -> int:
    return sum(int(trajectory.valid.sum()) for trajectory in trajectories)


def _summary(rows: list[dict[str, Measured]]) -> dict[str, Any]:
    """Seconds of a turn, and the pipeline's share of what is possible, round by round."""
    cores = this_machine().node.cpu_slots
    parts_cpu = [row["simulator"].cpu_s + row["policy"].cpu_s for row in rows]
    bounds = [cores / seconds for seconds in parts_cpu]
    slower = [min(row["simulator"].rate, row["policy"].rate) for row in rows]
    pipeline = [row["pipeline"] for row in rows]
    reached = [measured.rate for measured in pipeline]
    return {
        "env_steps_per_s": spread([m.env_steps * m.rate for m in pipeline]),
        "wall_s": {name: spread([row[name].spent.wall_s for row in rows]) for name in rows[0]},
        "cpu_s": {name: spread([row[name].cpu_s for row in rows]) for name in rows[0]},
        "cores_bound_s": spread([1.0 / bound for bound in bounds]),
        "of_slower_floor": spread([a / b for a, b in zip(reached, slower, strict=True)]),
        "of_smallest_bound": spread(
            [a / min(b, c) for a, b, c in zip(reached, slower, bounds, strict=True)]
        ),
        "cpu_of_parts": spread([a / m.cpu_s for a, m in zip(parts_cpu, pipeline, strict=True)]),
        "pipeline_cpu_s_by_process": shares([measured.spent for measured in pipeline]),
    }
