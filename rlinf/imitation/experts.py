"""Collecting demonstrations of a scripted expert in a simulator, in parallel processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Thread
from typing import Protocol

import numpy as np

from rlinf.config.imitation import ImitationConfig
from rlinf.config.schema import EnvConfig
from rlinf.data.random import derive, seed31
from rlinf.data.types import Observation, Start
from rlinf.envs.base import Simulator
from rlinf.envs.factory import make_simulator
from rlinf.envs.hosting.child import quiet_process
from rlinf.errors import WorkerFailed
from rlinf.imitation.episode import Episode
from rlinf.registry import experts, imported, simulator
from rlinf.signals import kept_from_children

EPISODES_PER_JOB = 1  # a request to stop is heard between jobs
_DEMONSTRATIONS = 3  # keeps these starts apart from those of training and evaluation


class Expert(Protocol):
    """A scripted policy for one episode; it reads the simulator's privileged state."""

    def act(self) -> np.ndarray:
        """The next action: [A] float32, env units."""

    def is_done(self) -> bool:
        """Whether it has nothing more to do and stands still."""


def demonstrate(
    settings: ImitationConfig,
    count: int,
    env: EnvConfig,
    chunk: int,
    processes: int,
    log_file: Path,
) -> Iterator[list[Episode]]:
    """Episodes in parts, as they get ready; their order does not depend on timing.

    Every random number belongs to (seed, episode), so the number of processes changes nothing.

    Args:
        count: episodes.
        chunk: C, actions per sample.
        processes: simulators that run at the same time.
        log_file: gets what the simulators print.
    """
    jobs = [
        range(first, min(first + EPISODES_PER_JOB, count))
        for first in range(0, count, EPISODES_PER_JOB)
    ]
    # A forked renderer does not work, and this process may hold one.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)), context, _start_process, (settings, env, chunk, log_file)
    )
    try:
        with kept_from_children():
            recorded = pool.map(_run_job, jobs)
        yield from recorded
    except BrokenProcessPool as error:
        raise WorkerFailed(
            f"a process that collects demonstrations exited: {error}; {log_file} may say why"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # who stops early does not wait for the rest


def record_episode(
    simulator: Simulator,
    expert: Expert,
    settings: ImitationConfig,
    chunk: int,
    limit: int,
    rng: np.random.Generator,
) -> Episode:
    """One episode in env 0, from its present state.

    Every `disturb_every` steps a disturbed action is executed in place of the expert's, so that the
    samples show how to come back (in the spirit of DART, Laskey et al. 2017). Only chunks without
    a disturbance in them become samples.
    """
    only = np.zeros(1, np.int64)
    seen: list[Observation] = []
    actions: list[np.ndarray] = []
    sample_start: list[bool] = []
    solved, idle = False, 0
    last_quiet = settings.disturb_every - chunk  # a chunk that begins later would be disturbed
    quiet = int(rng.integers(0, last_quiet + 1))  # steps since the last disturbance
    while len(actions) < limit and not solved and idle < 2 * chunk:
        seen.append(simulator.observe(only))
        wanted = executed = expert.act()
        disturbed = quiet >= settings.disturb_every and not expert.is_done()
        sample_start.append(not disturbed and quiet <= last_quiet)
        if disturbed:
            executed, quiet = _disturb(wanted, settings.disturbance, rng), -1
        actions.append(wanted)
        quiet += 1
        idle += expert.is_done()
        solved = bool(simulator.step(executed[None], np.ones(1, bool)).success[0])
    return Episode(
        images=np.concatenate([shown.images for shown in seen]),
        state=np.concatenate([shown.state for shown in seen]),
        actions=np.stack(actions),
        sample_start=np.array(sample_start),
        instruction=seen[0].instructions[0],
        success=solved,
    )


def _disturb(action: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Uniform noise of at most `size` on the translation."""
    disturbed = action.copy()
    disturbed[:3] = np.clip(action[:3] + rng.uniform(-size, size, 3), -1.0, 1.0)
    return disturbed


class _Job:
    """What a process of the pool keeps between jobs."""

    simulator: Simulator
    settings: ImitationConfig
    env: EnvConfig
    chunk: int


def _start_process(settings: ImitationConfig, env: EnvConfig, chunk: int, log_file: Path) -> None:
    quiet_process(log_file, simulator(env.simulator_type).hosting.environment)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher decides, and ends this process
    Thread(target=_end_with_owner, daemon=True).start()
    _Job.settings, _Job.env, _Job.chunk = settings, env, chunk
    _Job.simulator = make_simulator(env, num_envs=1)


def _end_with_owner() -> None:
    """Without this a launcher that is killed leaves its pool behind, which waits for ever."""
    owner = multiprocessing.parent_process()
    assert owner is not None
    owner.join()
    os._exit(1)


def _run_job(episodes: Sequence[int]) -> list[Episode]:
    settings, simulator = _Job.settings, _Job.simulator
    assert settings.expert is not None, "checked when the configuration was loaded"
    make_expert = imported(experts()[settings.expert][1].make)
    recorded = []
    for episode in episodes:
        start = Start(0, -1, int(seed31(settings.seed, _DEMONSTRATIONS, episode)) & ~1)
        rng = np.random.default_rng(int(derive(settings.seed, episode)))
        simulator.reset(np.zeros(1, np.int64), [start])
        expert = make_expert(simulator, settings, rng)
        limit = _Job.env.max_episode_steps
        recorded.append(record_episode(simulator, expert, settings, _Job.chunk, limit, rng))
    return recorded
