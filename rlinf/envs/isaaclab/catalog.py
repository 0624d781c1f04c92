"""Finds the description of a task by our name of it, or by a simulator's."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache

from rlinf.envs.isaaclab import TASKS
from rlinf.envs.isaaclab.task import Backend, Task
from rlinf.errors import UserError
from rlinf.registry import registered

GROUP = "rlinf.isaaclab_tasks"
ISAACLAB: tuple[Backend, ...] = ("isaaclab2", "isaaclab3")
MJLAB: tuple[Backend, ...] = ("mjlab",)


@cache
def tasks() -> dict[str, Task]:
    """All tasks, ours first."""
    return registered(TASKS, GROUP, Task)


def find(name: str, backends: Iterable[Backend]) -> tuple[str, Task]:
    """Our name of a task, and the task.

    Args:
        name: ours, or one that a simulator registers it under.
        backends: those it may be of.

    Raises:
        UserError: none of these has it.
    """
    known: dict[str, str] = {}
    for ours, task in tasks().items():
        theirs = [task.ids[backend] for backend in backends if backend in task.ids]
        if theirs:
            known |= dict.fromkeys((ours, *theirs), ours)
    if name in known:
        return known[name], tasks()[known[name]]
    near = get_close_matches(name, known, n=1, cutoff=0.3)
    raise UserError(
        f"there is no task {name}; there are {', '.join(known)}",
        f"set env.*.init_params.id={near[0]}" if near else "choose one of them",
    )
