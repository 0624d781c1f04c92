"""Two sides that do the same work in turns, and sub-processes that are asked to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import psutil

from meter import Spent, spend
from rlinf.envs.hosting.process import GRACE_S, HostProcess, outcomes

TIMEOUT_S = 3600.0  # a machine may be busy with other things


def compared(turns: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The bare loop's median, and for the adapter as much more as in the median of the turns.

    A core may be twice as fast a second later; both sides of a turn are measured within one.
    """
    bare = turns.get("bare")
    if bare is None:
        return {"adapter": median(turns["adapter"])}
    ratio = median(ours / theirs for ours, theirs in zip(turns["adapter"], bare, strict=True))
    return {"bare": median(bare), "adapter": ratio * median(bare)}


def ask(hosts: Mapping[int, HostProcess], member: str, arguments: Sequence[Any]) -> dict[int, Any]:
    """Calls a method in all of them at once; what it gives in each."""
    for index, host in hosts.items():
        host.request(member, arguments[index], TIMEOUT_S)
    answers = outcomes(hosts, TIMEOUT_S)
    for answer in answers.values():
        if isinstance(answer, Exception):
            raise answer
    return answers


def end(hosts: Iterable[HostProcess]) -> None:
    """Lets them end."""
    for host in hosts:
        host.hang_up()
        host.end(time.monotonic() + GRACE_S)


def turns_of(
    sides: Mapping[str, tuple[Callable[[], None], set[psutil.Process]]], turns: int, steps: int
) -> dict[str, dict[str, float]]:
    """What an env step takes on each side over all turns, and the memory of its processes.

    Args:
        sides: the work of `steps` env steps, and the processes that do it.
        turns: how often each side works.
        steps: see above.
    """
    spent: dict[str, list[Spent]] = {side: [] for side in sides}
    for turn in range(turns + 1):
        for side in sorted(sides, reverse=bool(turn % 2)):
            _, one = spend(sides[side][0], steps)
            if turn > 0:  # the first warms up
                spent[side].append(one)
    cpu = compared({side: [one.cpu_each_s for one in spent[side]] for side in sides})
    wall = compared({side: [one.wall_each_s for one in spent[side]] for side in sides})
    return {
        side: {
            "env_steps_per_second": 1 / wall[side],
            "cpu_seconds_per_env_step": cpu[side],
            "own_memory_gb_per_process": median(_own_memory(p) for p in processes) / 1e9,
        }
        for side, (_, processes) in sides.items()
    }


def _own_memory(process: psutil.Process) -> int:
    """Bytes that this process alone uses: without the imports it shares with its fork server."""
    found: int = process.memory_full_info().uss
    return found
