"""What a task of IsaacLab or mjlab is, by names: the adapter does the rest.

A task is described, not programmed: which camera is which view, which observation terms make the
state, which termination term is success. This module and the files of tasks are read by our own
Python, for the configuration, and by the simulator's; so at their head they import neither
pydantic nor a simulator. What touches the simulator's configuration is a function, called there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from rlinf.data.conventions import ActionConvention

Backend = Literal["isaaclab2", "isaaclab3", "mjlab"]
Reward = Literal["success", "subtasks", "task"]


class Scene(NamedTuple):
    """What `Task.prepare` goes by."""

    backend: Backend
    newton: bool  # IsaacLab 3 without Isaac Sim: no asset of NVIDIA's servers, Warp renders
    height: int  # of the pictures, in pixels
    width: int
    fast: bool  # physics in few steps, see `init_params.fast_physics`
    robot: str  # USD file of the Franka arm that the installer made


@dataclass(frozen=True, slots=True)
class StateSlice:
    """Some numbers of the state vector."""

    name: str  # ours
    term: str  # `group/term` of the observations, or `group` where its terms are one vector
    size: int  # in the state vector
    rotation: bool = (
        False  # the term is a quaternion [4]; the state has its axis-angle [3], radians
    )


class Verdict(Protocol):
    """A condition on the simulator's env; [B] bool tensor."""

    def __call__(self, env: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Task:
    """A task, by the names that its simulator has for things."""

    ids: Mapping[Backend, str]  # registered name under each backend that has it
    instruction: str
    views: Mapping[str, str]  # our name of a view -> camera in the simulator's scene
    state: tuple[StateSlice, ...]
    actions: ActionConvention
    max_steps: int  # the task's own limit of an episode
    steps_per_second: int  # actions per second of simulated time
    prepare: Callable[[Any, Scene], None]  # changes the simulator's configuration
    success: str | Verdict = "success"  # termination term that alone is success, or a function
    subtasks: tuple[str, ...] = ()  # observation terms that hold once a part is done
    overrides: Mapping[Backend, Sequence[str]] = field(default_factory=dict)
    """Presets that IsaacLab 3 makes the configuration with."""
    needs_robot: bool = False
    """With Newton the arm that the installer makes stands in for the stock asset."""

    @property
    def state_size(self) -> int:
        """S."""
        return sum(part.size for part in self.state)


REWARDS: dict[Reward, str] = {
    "success": "1 when the task is first solved",
    "subtasks": "equal parts of 1 for each subtask when it first holds, the last for success",
    "task": "the simulator's own terms, and 1 when the task is first solved",
}
