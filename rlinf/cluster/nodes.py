"""The machines of a run by node rank: waiting for them, looking at them, replacing lost ones."""

from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rlinf import installer
from rlinf.cluster.claims import Claims
from rlinf.cluster.local import LocalRay
from rlinf.config.placement import Node, parse
from rlinf.config.process_environment import devices_of, interpreter_of, variables_of
from rlinf.config.schema import Config
from rlinf.errors import NodeLost, UserError
from rlinf.safe_path import without_working_folder
from rlinf.wording import plural

_log = logging.getLogger(__name__)
RANK_LABEL = "rlinf-rank"
"""`ray start --labels=rlinf-rank=2` asks for a node rank."""
POLL_S = 0.5
EXAMINATION_S = 120.0  # longest wait for what a node says of itself
SHARED_FOLDER_S = 10.0  # a network file system may show a new file that much later


@dataclass(frozen=True, slots=True)
class Member:
    """A living node of the Ray cluster."""

    id: str  # as Ray names it
    address: str
    accelerators: int
    asked: int | None  # rank that its label asks for

    def fits(self, wanted: Node) -> bool:
        """Whether it has the accelerators that placements count on."""
        return self.accelerators >= wanted.accelerators


class Cluster:
    """Which node has which rank."""

    def __init__(
        self, config: Config, nodes: Sequence[Node], local: LocalRay | None = None
    ) -> None:
        """Waits until there is a node for every rank, and looks whether each can run workers.

        Args:
            nodes: what each rank has to offer.
            local: the Ray that was started here; None for one that was there before.

        Raises:
            UserError: too few nodes joined in time, or one of them cannot run workers.
        """
        self._config, self._wanted, self._local = config, list(nodes), local
        self.node_ids = [""] * len(nodes)  # Ray's id of each node rank
        self.addresses = [""] * len(nodes)  # IP address of each node rank
        placed = parse(config.cluster.component_placement, self._wanted, config.cluster.node_groups)
        self._processes = [process for ranks in placed.values() for process in ranks]
        self._claims = Claims()
        self._fill(lambda: None, self._too_few)

    @property
    def several(self) -> bool:
        """Whether there is more than one machine."""
        return len(self.node_ids) > 1

    def restart(self) -> None:
        """Starts a Ray that ended again; all workers have to be launched anew.

        Raises:
            NodeLost: other nodes had joined it, and do not find the new one.
            UserError, WorkerFailed: it does not start.
        """
        if self._local is None or not self._local.alone:
            raise NodeLost(
                "Ray ended on the machine of its head, and the other nodes are lost with it\n"
                "  fix: start Ray on all of them again and continue with runner.resume_dir=auto"
            )
        self._local.restart()
        self._fill(lambda: None, self._gone)

    def replace_lost(self, on_poll: Callable[[], None]) -> list[int]:
        """Gives the rank of every node that is gone to another one; returns these ranks.

        Args:
            on_poll: called while this waits for a node to join; may raise to give the wait up.

        Raises:
            NodeLost: none joined within `cluster.node_timeout_s`.
            UserError: the new one cannot run workers.
        """
        return self._fill(on_poll, self._gone)

    def _fill(
        self, on_poll: Callable[[], None], failure: Callable[[list[int]], Exception]
    ) -> list[int]:
        timeout_s = self._config.cluster.node_timeout_s
        deadline = time.monotonic() + timeout_s
        noted, filled = False, set[int]()
        while True:
            members = alive()
            ids = {member.id for member in members}
            vacant = [rank for rank, node in enumerate(self.node_ids) if node not in ids]
            spares = [member for member in members if member.id not in self.node_ids]
            chosen = assign(vacant, spares, self._wanted)
            if len(chosen) == len(vacant):
                filled |= chosen.keys()
                if self._take(chosen):
                    return sorted(filled)
                continue
            unfit = not any(self.node_ids) and len(members) >= len(self.node_ids)
            if unfit or time.monotonic() > deadline:
                raise failure(vacant)
            if not noted:
                _log.warning(
                    "waiting up to %.0f s for %s of %d to join the Ray cluster",
                    timeout_s,
                    plural(len(vacant) - len(chosen), "node"),
                    len(self.node_ids),
                )
                noted = True
            on_poll()
            time.sleep(POLL_S)

    def _take(self, chosen: Mapping[int, Member]) -> bool:
        """Gives ranks to nodes and examines these; False where one of them was lost meanwhile."""
        for rank, member in chosen.items():
            self.node_ids[rank], self.addresses[rank] = member.id, member.address
            if self.several:
                _log.info("node %d is %s", rank, member.address)
        if not self._examine(chosen):
            return False
        if self.several or self._local is None:  # others may run on the same cluster
            for rank, member in chosen.items():
                self._claims.take(rank, member.id, self._gpus(rank), member.accelerators)
        return True

    def _gpus(self, rank: int) -> set[int]:
        """The GPUs of a node that processes are placed on."""
        placed = (process for process in self._processes if process.node == rank)
        return {index for process in placed for index in devices_of(process)}

    def _too_few(self, vacant: list[int]) -> Exception:
        found = ", ".join(
            f"{member.address} ({plural(member.accelerators, 'accelerator')})" for member in alive()
        )
        needs = ", ".join(
            f"node {rank} needs {plural(self._wanted[rank].accelerators, 'accelerator')}"
            for rank in vacant
            if self._wanted[rank].accelerators
        )
        return UserError(
            f"cluster.num_nodes = {len(self.node_ids)}: the Ray cluster has {found}"
            + (f"; {needs}" if needs else ""),
            "start Ray on the others: ray start --address=<address of the head node>; "
            "cluster.accelerators_per_node says what each node has",
        )

    def _gone(self, vacant: list[int]) -> Exception:
        which = ", ".join(f"node {rank} ({self.addresses[rank]})" for rank in vacant)
        return NodeLost(
            f"{which} was lost, and no other node joined the Ray cluster within "
            f"{self._config.cluster.node_timeout_s:.0f} s (cluster.node_timeout_s).\n"
            "  fix: start Ray on another machine (ray start --address=<address of the head node>) "
            "and continue with runner.resume_dir=auto"
        )

    def _examine(self, ranks: Collection[int]) -> bool:
        """Refuses nodes that cannot run their workers; returns whether all are still there.

        The launcher's own machine is examined only if another interpreter was asked for.
        """
        todo = {
            rank: pythons
            for rank in ranks
            if (pythons := self._pythons(rank)) or not self._is_here(rank)
        }
        if not todo:
            return True
        folder = self._config.runner.logger.run_dir
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / f".seen-by-all-nodes-{secrets.token_hex(4)}"
        mark.touch()
        try:
            calls = {
                rank: ray.remote(num_cpus=0)(examine)
                .options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(
                        self.node_ids[rank], soft=False
                    )
                )
                .remote(pythons, str(mark), ray.__version__)
                for rank, pythons in todo.items()
            }
            there = [self._judge(rank, call) for rank, call in calls.items()]
            return all(there)
        finally:
            mark.unlink()

    def _pythons(self, rank: int) -> dict[str, dict[str, str]]:
        """The interpreters asked for on a node, and the environment variables of each."""
        groups = self._config.cluster.node_groups
        return {
            path: variables_of(process, groups)
            for process in self._processes
            if process.node == rank and (path := interpreter_of(process, groups)) is not None
        }

    def _is_here(self, rank: int) -> bool:
        return self.node_ids[rank] == ray.get_runtime_context().get_node_id()

    def _judge(self, rank: int, call: ray.ObjectRef) -> bool:
        try:
            problem = ray.get(call, timeout=EXAMINATION_S)
        except RayError as error:
            if self.node_ids[rank] not in {member.id for member in alive()}:
                return False  # Ray learns of a lost node with a delay
            last = str(error).strip().splitlines()[-1]
            problem = (f"it cannot run workers: {last}", "install rlinf on it as on this machine")
        if problem is not None:
            raise UserError(f"node {rank} ({self.addresses[rank]}): {problem[0]}", problem[1])
        return True


def alive() -> list[Member]:
    """The living nodes: the launcher's machine, then by address, not in the order they joined."""
    here = ray.get_runtime_context().get_node_id()
    members = [
        Member(
            node["NodeID"],
            node["NodeManagerAddress"],
            int(node["Resources"].get("GPU", 0)),
            _asked(node.get("Labels", {}), 0 if node["NodeID"] == here else None),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]
    return sorted(members, key=lambda m: (m.id != here, ip_address(m.address), m.id))


def _asked(labels: Mapping[str, str], otherwise: int | None) -> int | None:
    label = labels.get(RANK_LABEL)
    if label is None:
        return otherwise
    if not label.isdigit():
        raise UserError(f"ray start --labels={RANK_LABEL}={label}: no node rank", "write a number")
    return int(label)


def assign(
    vacant: Collection[int], spares: Sequence[Member], wanted: Sequence[Node]
) -> dict[int, Member]:
    """A node for as many vacant ranks as possible.

    A rank goes to the node that asks for it, or else to the first that fits and asks for no other
    vacant one. Ranks that need the most accelerators choose first.
    """
    chosen: dict[int, Member] = {}
    for rank in sorted(vacant, key=lambda rank: (-wanted[rank].accelerators, rank)):
        fitting = [m for m in spares if m.fits(wanted[rank]) and m not in chosen.values()]
        asking = [member for member in fitting if member.asked == rank]
        others = [member for member in fitting if member.asked not in vacant]
        for member in [*asking, *others][:1]:
            chosen[rank] = member
    return chosen


def examine(
    pythons: Mapping[str, Mapping[str, str]], mark: str, ray_version: str
) -> tuple[str, str] | None:
    """Runs on a node: what is wrong with it, and what to do, or None.

    Args:
        pythons: interpreters that shall run there, and the environment variables of each.
        mark: a file in the run's folder that the launcher has just made.
    """
    deadline = time.monotonic() + SHARED_FOLDER_S
    while not Path(mark).exists():
        if time.monotonic() > deadline:
            return (
                f"it does not see the run's folder {Path(mark).parent}",
                "set runner.logger.log_path to a folder that all nodes share",
            )
        time.sleep(POLL_S)
    own = (ray_version, list(sys.version_info[:2]))
    for python, variables in pythons.items():
        found = _ask(python, variables)
        if found != own:
            return (
                f"cluster.node_groups.env_configs.python_interpreter_path = {python}: {found}"
                if isinstance(found, str)
                else f"{python} has Ray {found[0]} and Python {_dotted(found[1])}, the run has Ray "
                f"{own[0]} and Python {_dotted(own[1])}",
                f"name a Python of that machine in which this was run: {installer.command()}",
            )
    return None


_QUESTION = (
    "import json, sys, ray, rlinf; print(json.dumps([ray.__version__, sys.version_info[:2]]))"
)


def _ask(python: str, variables: Mapping[str, str]) -> tuple[str, list[int]] | str:
    """Versions of Ray and Python of an interpreter, or what it answered instead."""
    try:
        answer = subprocess.run(
            [python, "-c", _QUESTION],
            env=without_working_folder({**os.environ, **variables}),
            capture_output=True,
            text=True,
            timeout=EXAMINATION_S / 2,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if answer.returncode:
        return answer.stderr.strip().splitlines()[-1]
    version, numbers = json.loads(answer.stdout.splitlines()[-1])
    return version, numbers


def _dotted(numbers: Sequence[int]) -> str:
    return ".".join(map(str, numbers))
