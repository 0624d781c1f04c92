"""A worker group: one plain class, launched on N placements, called on all ranks.

The classes know nothing of Ray; this module and `cluster.py` are the only ones that do. They are
named by import path and loaded where they work: the launcher, and an env worker that asks the
policy, do without torch.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rlinf import devices
from rlinf.cluster import health
from rlinf.cluster.service import Caller, serve
from rlinf.config.placement import ProcessPlacement
from rlinf.config.process_environment import devices_of, split_secrets
from rlinf.data.types import ActReply, Observation, Purpose, Wanted
from rlinf.errors import OWN_ERRORS, WorkerFailed
from rlinf.registry import imported

POLL_S = 0.2  # how often a wait looks for a stop request
TAKE_OVER_S = 5.0  # longest wait for a result that is there already
SMALL_BYTES = 96 * 1024
"""Observations of a rollout epoch up to this size go with the trajectory: a place in shared memory
costs 2 ms of CPU time, copying these microseconds. Ray itself sends arguments below 100 KiB so."""
INLINE_BYTES = 4 * 1024 * 1024
"""Observations up to this size are sent to the policy over a socket, which copies them twice (a
millisecond per MB); larger ones are read from shared memory, at the cost of a call of Ray."""

_MEANWHILE = "meanwhile"  # a thread of its own in each worker process


class _Host:
    """What Ray starts in each process: it builds the worker and hands the calls to it.

    Ray loads the class of an actor wherever a handle of it arrives, so this one loads fast.
    """

    def __init__(
        self,
        worker: str,
        arguments: Mapping[str, Any],
        secrets: Mapping[str, str],
        gpus: Sequence[int] = (),
    ) -> None:
        """
        Args:
            worker: `module:class`, which is loaded once the process has its variables.
            arguments: of its constructor.
            secrets: variables that Ray shall not write down.
            gpus: devices of the process, by their place among those that this node shows.
        """
        os.environ.update(secrets)
        # What a constructor raises is only text to later callers, so that an error which
        # the user can put right would look like a crash. It is raised by the first call instead.
        self._refusal: Exception | None = None
        try:
            shown = os.environ.get(devices.VARIABLE)
            os.environ[devices.VARIABLE] = devices.chosen(gpus, shown)
            self._worker = imported(worker)(**arguments)
        except OWN_ERRORS as error:
            self._refusal = error

    def call(self, method: str, *arguments: Any) -> Any:
        return self._call(method, arguments)

    @ray.method(concurrency_group=_MEANWHILE)
    def meanwhile(self, method: str, *arguments: Any) -> Any:
        return self._call(method, arguments)

    def _call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        if self._refusal is not None:
            raise self._refusal
        return getattr(self._worker, method)(*arguments)


class Pending:
    """Calls under way on several ranks of a group."""

    def __init__(self, group: str, method: str, calls: Sequence[tuple[int, ray.ObjectRef]]) -> None:
        self.group = group  # its name
        self._method = method
        self._calls = list(calls)
        self._kept: list[Any] | Exception | None = None  # after Ray ended

    def result(
        self, on_poll: Callable[[], None] | None = None, timeout_s: float | None = None
    ) -> list[Any]:
        """Waits for all ranks and returns their results in rank order.

        The first rank that fails ends the wait at once, so that ranks which wait for the failed
        one cannot hold the run up.

        Args:
            on_poll: called every `POLL_S` seconds; may raise to give the wait up.
            timeout_s: longest wait; None waits as long as all workers are alive.

        Raises:
            WorkerFailed: a worker process exited, raised, or timed out.
            RayFailed: all of them ended.
            UserError, EnvironmentFailure, NumericsError: as raised by the worker.
        """
        if isinstance(self._kept, Exception):
            raise self._kept
        if self._kept is not None:
            return self._kept
        results: dict[int, Any] = {}
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        for late in self._looks(results):
            if on_poll is not None:
                on_poll()
            if deadline is not None and late and time.monotonic() > deadline:
                raise WorkerFailed(
                    f"{self.group} ranks {late}: {self._method}() timed out after {timeout_s:.0f} s"
                )
        return [results[rank] for rank, _ in self._calls]

    def result_unless(self, moot: Callable[[], bool]) -> list[Any] | None:
        """As `result`; None as soon as `moot()` is true while a rank has not answered."""
        results: dict[int, Any] = {}
        for late in self._looks(results):
            if late and moot():
                return None
        return [results[rank] for rank, _ in self._calls]

    def _looks(self, results: dict[int, Any]) -> Iterator[list[int]]:
        """Fills `results` as ranks answer; yields the ranks that have not, after each look."""
        ranks = {ref: rank for rank, ref in self._calls}
        waiting = list(ranks)
        while waiting:
            health.check()
            done, waiting = ray.wait(waiting, num_returns=1, timeout=POLL_S)
            for ref in done:
                results[ranks[ref]] = self._get(ranks[ref], ref)
            yield sorted(ranks[ref] for ref in waiting)

    def settle(self, timeout_s: float) -> None:
        """Waits until every rank has answered or failed, whichever it is."""
        _settle([ref for _, ref in self._calls], timeout_s)

    def take_over(self) -> None:
        """Keeps what has arrived in this process, so that it outlives Ray; the rest is lost."""
        if self._kept is not None:
            return
        refs = [ref for _, ref in self._calls]
        try:
            if len(ray.wait(refs, num_returns=len(refs), timeout=0)[0]) < len(refs):
                raise WorkerFailed(f"{self.group} had not answered {self._method}() when Ray ended")
            self._kept = [self._get(rank, ref, timeout_s=TAKE_OVER_S) for rank, ref in self._calls]
        except OWN_ERRORS as error:
            self._kept = error

    def _get(self, rank: int, ref: ray.ObjectRef, timeout_s: float | None = None) -> Any:
        try:
            return ray.get(ref, timeout=timeout_s)
        except RayTaskError as error:
            raise as_own_error(error, f"{self.group}[{rank}].{self._method}()") from None
        except RayActorError as error:
            raise WorkerFailed(
                f"{self.group}[{rank}] exited during {self._method}(): {error}"
            ) from None
        except RayError as error:  # it was on a machine that is gone
            raise WorkerFailed(
                f"{self.group}[{rank}]: the result of {self._method}() is lost: {error}"
            ) from None


class WorkerGroup:
    """Ranks 0..N-1 of one worker class, each in its own process."""

    def __init__(
        self,
        name: str,
        worker: str,
        placements: Sequence[ProcessPlacement],
        arguments: Callable[[int], Mapping[str, Any]],
        environment: Callable[[ProcessPlacement], Mapping[str, Any]],
        node_ids: Sequence[str],
        threads: int = 1,
    ) -> None:
        """Launches the processes; the constructors run while this returns.

        Args:
            worker: import path of the class, `module:name`.
            arguments: rank to its keyword arguments.
            environment: Ray's `runtime_env` of a process.
            node_ids: Ray's id of each node rank; read whenever a process is launched.
            threads: calls that a process works on at the same time.
        """
        self.name = name
        # The name of the class is that of the processes, in a process list.
        named = type(worker.partition(":")[2], (_Host,), {})
        remote_class: Any = ray.remote(concurrency_groups={_MEANWHILE: 1})(named)

        def launch(placement: ProcessPlacement) -> Any:
            options = dict(environment(placement))
            options["env_vars"], secrets = split_secrets(options["env_vars"])
            return remote_class.options(
                num_cpus=0,
                max_concurrency=threads,
                runtime_env=options,
                scheduling_strategy=NodeAffinitySchedulingStrategy(
                    node_ids[placement.node], soft=False
                ),
            ).remote(worker, arguments(placement.rank), secrets, devices_of(placement))

        self._launch, self._placements = launch, list(placements)
        self.handles: list[Any] = [launch(placement) for placement in placements]

    def __len__(self) -> int:
        return len(self.handles)

    def dead(self, timeout_s: float) -> list[int]:
        """The ranks whose process is gone, or does not answer `ready` in time."""
        calls = [handle.call.remote("ready") for handle in self.handles]
        _settle(calls, timeout_s)
        return [rank for rank, call in enumerate(calls) if not _answered(call)]

    def on(self, nodes: Collection[int]) -> list[int]:
        """The ranks on some nodes."""
        return [placed.rank for placed in self._placements if placed.node in nodes]

    def restart(self, ranks: Sequence[int]) -> None:
        """Ends the processes of some ranks, if they still run, and launches new ones."""
        for rank in ranks:
            ray.kill(self.handles[rank])
            self.handles[rank] = self._launch(self._placements[rank])

    def launch_anew(self) -> None:
        """Launches all ranks on a Ray that was started anew: the old processes are gone."""
        self.handles = [self._launch(placement) for placement in self._placements]

    def call(self, method: str, *arguments: Any) -> Pending:
        """Calls `method` with the same arguments on every rank."""
        return self.call_each(method, [arguments] * len(self.handles))

    def call_each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> Pending:
        """Calls `method` on every rank, with its own arguments each."""
        calls = [
            (rank, handle.call.remote(method, *given))
            for rank, (handle, given) in enumerate(zip(self.handles, arguments, strict=True))
        ]
        return Pending(self.name, method, calls)

    def meanwhile(self, method: str) -> Pending:
        """Calls `method` on every rank, also where another call is under way."""
        calls = [(rank, h.meanwhile.remote(method)) for rank, h in enumerate(self.handles)]
        return Pending(self.name, method, calls)

    def call_first(self, method: str, *arguments: Any) -> Pending:
        """Calls `method` on rank 0 only."""
        return self.call_some([0], method, *arguments)

    def call_some(self, ranks: Sequence[int], method: str, *arguments: Any) -> Pending:
        """Calls `method` with the same arguments on some ranks."""
        calls = [(rank, self.handles[rank].call.remote(method, *arguments)) for rank in ranks]
        return Pending(self.name, method, calls)

    def kill(self) -> None:
        """Ends every process of the group at once; those of a Ray that ended are gone."""
        for handle in self.handles if health.is_good() else ():
            ray.kill(handle)


def _settle(calls: Sequence[ray.ObjectRef], timeout_s: float) -> None:
    """Waits until every call has a result or an error; raises RayFailed where Ray ended."""
    deadline = time.monotonic() + timeout_s
    left = list(calls)
    while left and time.monotonic() < deadline:
        health.check()
        _, left = ray.wait(left, num_returns=len(left), timeout=POLL_S)


def _answered(call: ray.ObjectRef) -> bool:
    try:
        ray.get(call, timeout=0)
    except RayError:  # exited, or hung
        return False
    return True


class RemotePolicy:
    """Rollout ranks as an env worker sees them: a request goes straight to one of them.

    Requests are spread round robin over all stages of the env worker. Which rank answers changes
    nothing, as all hold the same weights and the noise comes with the request.
    """

    def __init__(
        self,
        handles: Mapping[int, Any],
        first: int,
        timeout_s: float,
        hosts: Mapping[int, str] | None = None,
    ) -> None:
        """
        Args:
            handles: of the rollout ranks that are asked, by rank.
            first: place among them of the one that is asked first.
            timeout_s: longest wait for an answer.
            hosts: address of each rank's machine, where there are several machines.
        """
        self._handles, self._timeout_s, self._hosts = dict(handles), timeout_s, hosts
        self._ranks = list(handles)
        self._turn = itertools.count(first)  # `next` is atomic: stages are threads
        self._callers: dict[tuple[int, int], Caller] = {}  # of each thread and rank

    def act(
        self,
        observation: Observation,
        keys: np.ndarray,
        final: Observation | None,
        purpose: Purpose,
        version: int,
    ) -> ActReply:
        """`RolloutWorker.act` on one of the ranks."""
        size = _bytes(observation) + (_bytes(final) if final is not None else 0)
        if size > INLINE_BYTES:
            reply: ActReply = self._call("act", ray.put(observation), keys, final, purpose, version)
            return reply
        answered: ActReply = self._answer(
            "act", *self._ask("act", (observation, keys, final, purpose, version))
        )
        return answered

    def value(self, observation: Observation) -> np.ndarray:
        """`RolloutWorker.value` on one of the ranks."""
        if _bytes(observation) > INLINE_BYTES:
            return np.asarray(self._call("value", observation))
        return np.asarray(self._answer("value", *self._ask("value", (observation,))))

    def publish(self, observation: Observation) -> Any:
        """A reference to an observation in the shared memory of this node, written once; a small
        one is its own reference.
        """
        return ray.put(observation) if _bytes(observation) > SMALL_BYTES else observation

    def _ask(self, method: str, arguments: tuple[Any, ...]) -> tuple[int, Caller]:
        rank = self._next_rank()
        key = (threading.get_ident(), rank)
        if key not in self._callers:
            host = self._hosts[rank] if self._hosts is not None else None
            self._callers[key] = Caller(self._ray(rank, "open_service", partial(serve, host=host)))
        try:
            self._callers[key].ask(method, arguments)
        except WorkerFailed as error:
            raise WorkerFailed(f"rollout[{rank}].{method}(): {error}") from error
        return rank, self._callers[key]

    def _answer(self, method: str, rank: int, caller: Caller) -> Any:
        try:
            return caller.answer(self._timeout_s)
        except WorkerFailed as error:
            raise WorkerFailed(f"rollout[{rank}].{method}(): {error}") from error

    def _call(self, method: str, *arguments: Any) -> Any:
        return self._ray(self._next_rank(), method, *arguments)

    def _next_rank(self) -> int:
        return self._ranks[next(self._turn) % len(self._ranks)]

    def _ray(self, rank: int, method: str, *arguments: Any) -> Any:
        call = self._handles[rank].call.remote(method, *arguments)
        try:
            return ray.get(call, timeout=self._timeout_s)
        except RayTaskError as error:
            raise as_own_error(error, f"rollout[{rank}].{method}()") from None
        except RayError as error:  # exited, or timed out
            raise WorkerFailed(f"rollout[{rank}].{method}() failed: {error}") from None


class FarObservations:
    """Rows of observations that lie on other nodes, from the actor ranks there."""

    def __init__(self, handles: Mapping[int, Sequence[Any]], rank: int, timeout_s: float) -> None:
        """
        Args:
            handles: of the actor ranks, by node.
            rank: that asks; different ranks ask different ones.
            timeout_s: longest wait for an answer.
        """
        self._asked = {node: ranks[rank % len(ranks)] for node, ranks in handles.items()}
        self._timeout_s = timeout_s

    def __call__(self, wanted: Sequence[Wanted]) -> list[Observation]:
        """See `workers/observations.py`; all nodes are asked at the same time."""
        calls = [self._asked[one.node].meanwhile.remote("observations", one) for one in wanted]
        try:
            found: list[Observation] = ray.get(calls, timeout=self._timeout_s)
        except RayTaskError as error:
            raise as_own_error(error, "actor.observations()") from None
        except RayError as error:  # dead, or no answer in time
            nodes = [one.node for one in wanted]
            raise WorkerFailed(f"observations of nodes {nodes} did not come: {error}") from None
        return found


def _bytes(observation: Observation) -> int:
    return observation.images.nbytes + observation.state.nbytes


def as_own_error(error: RayTaskError, where: str) -> Exception:
    """The error a worker raised: one of ours as it is, any other with its traceback."""
    cause = error.cause
    return cause if isinstance(cause, OWN_ERRORS) else WorkerFailed(f"{where} failed:\n{error}")


def publish(value: Any) -> Any:
    """Writes a value into shared memory once; all workers that get the reference read it there."""
    health.check()
    try:
        return ray.put(value)
    except RayError as error:
        raise WorkerFailed(f"Ray's shared memory is gone: {error}") from None


def fetch(references: Sequence[Any]) -> list[Any]:
    """The values that references stand for, without a copy on the node that holds them.

    What is no reference is a value already; see `RemotePolicy.publish`.
    """
    found = iter(ray.get([item for item in references if isinstance(item, ray.ObjectRef)]))
    return [next(found) if isinstance(item, ray.ObjectRef) else item for item in references]
