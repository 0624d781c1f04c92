"""Collecting demonstrations of a scripted expert in a simulator, in parallel processes."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from threading import Thread
from typing import Any

from rlinf.config.imitation import ImitationConfig
from rlinf.config.schema import EnvConfig
from rlinf.data.random import derive, seed31
from rlinf.data.types import Start
from rlinf.envs.factory import hosting
from rlinf.envs.hosting.batch import START_TIMEOUT_S
from rlinf.envs.hosting.child import quiet_process
from rlinf.envs.hosting.interpreter import Interpreter
from rlinf.envs.hosting.process import HostProcess, outcomes
from rlinf.errors import WorkerFailed
from rlinf.imitation.episode import Episode
from rlinf.imitation.record import BUILD, recorder
from rlinf.registry import experts, simulator
from rlinf.signals import kept_from_children

EPISODES_PER_JOB = 1
CHECK_S = 0.2  # between two looks for a request to stop
_DEMONSTRATIONS = 3  # keeps these starts apart from those of training and evaluation
_OF_THE_EXPERT = {"disturbance", "disturb_every", "sound_share", "flaw"}


def demonstrate(
    settings: ImitationConfig,
    count: int,
    env: EnvConfig,
    chunk: int,
    processes: int,
    log_file: Path,
    check: Callable[[], None],
) -> Iterator[list[Episode]]:
    """Episodes in parts, as they get ready; their order does not depend on timing.

    Every random number belongs to (seed, episode), so the number of processes changes nothing.

    Args:
        count: episodes.
        chunk: C, actions per sample.
        processes: simulators that run at the same time.
        log_file: gets what the simulators print.
        check: is called every moment; what it raises ends the simulators within their episodes.
    """
    jobs = [
        range(first, min(first + EPISODES_PER_JOB, count))
        for first in range(0, count, EPISODES_PER_JOB)
    ]
    # A forked renderer does not work, and this process may hold one.
    context = multiprocessing.get_context("spawn")
    needed, need = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)), context, _start_process, (settings, env, chunk, log_file, needed)
    )
    try:
        with kept_from_children():
            recorded = [pool.submit(_run_job, job) for job in jobs]
        for part in recorded:
            while not wait([part], CHECK_S).done:
                check()
            yield part.result()
    except BrokenProcessPool as error:
        raise WorkerFailed(
            f"a process that collects demonstrations exited: {error}; {log_file} may say why"
        ) from error
    except BaseException:
        need.close()  # an early stop waits for no episode
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        need.close()
        needed.close()


class _Job:
    """What a process of the pool keeps between jobs."""

    settings: ImitationConfig
    env: EnvConfig
    chunk: int
    log_file: Path


def _start_process(
    settings: ImitationConfig, env: EnvConfig, chunk: int, log_file: Path, needed: Connection
) -> None:
    quiet_process(log_file, hosting(env).environment)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher decides, and ends this process
    Thread(target=_end_with_need, args=(needed,), daemon=True).start()
    _Job.settings, _Job.env, _Job.chunk, _Job.log_file = settings, env, chunk, log_file


@cache
def _record() -> Callable[[Start, int], Sequence[Any]]:
    """`EpisodeRecorder.record`, in this process or under the simulator's own Python."""
    settings, env, how = _Job.settings, _Job.env, hosting(_Job.env)
    assert settings.expert is not None, "checked when the configuration was loaded"
    build = simulator(env.simulator_type).build
    rules = {"chunk": _Job.chunk, "limit": env.max_episode_steps}
    parts = (
        build,
        env.init_params.model_dump(mode="json"),
        experts()[settings.expert][1].make,
        rules | settings.model_dump(mode="json", include=_OF_THE_EXPERT),
    )
    if how.interpreter is None:
        return recorder(*parts).record
    there = HostProcess("demonstrations", _Job.log_file, Interpreter(how, build))
    _ask(there, "build", (BUILD, *parts), START_TIMEOUT_S)
    timeout_s = env.step_timeout_s * math.ceil(env.max_episode_steps / _Job.chunk)
    return lambda *of: _ask(there, "record", of, timeout_s)


def _ask(host: HostProcess, member: str, arguments: Sequence[Any], timeout_s: float) -> Any:
    host.request(member, arguments, timeout_s)
    (answer,) = outcomes({0: host}, timeout_s).values()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _end_with_need(needed: Connection) -> None:
    """Ends this process once its owner closes the other end, or is gone.

    Without this a launcher that is killed leaves its pool behind, which waits for ever.
    """
    owner = multiprocessing.parent_process()
    assert owner is not None
    wait_for([owner.sentinel, needed])
    os._exit(1)


def _run_job(episodes: Sequence[int]) -> list[Episode]:
    seed, recorded = _Job.settings.seed, []
    for episode in episodes:
        start = Start(0, -1, int(seed31(seed, _DEMONSTRATIONS, episode)) & ~1)
        recorded.append(Episode(*_record()(start, int(derive(seed, episode)))))
    return recorded
