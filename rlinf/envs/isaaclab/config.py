"""`env.*.init_params` of IsaacLab and mjlab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from rlinf.config.base import Count, Spaces
from rlinf.config.paths import PathText
from rlinf.config.simulator import SimulatorParams
from rlinf.data.conventions import ActionConvention
from rlinf.envs.isaaclab import arm
from rlinf.envs.isaaclab.catalog import ISAACLAB, MJLAB, find
from rlinf.envs.isaaclab.examine import INSTALL
from rlinf.envs.isaaclab.task import Backend, Reward, Task


class ManagerParams(SimulatorParams):
    """What the two have in common: all sub-envs of a stage are one batch in one process."""

    backends: ClassVar[tuple[Backend, ...]]

    id: str
    """Task: a name of `rlinf.envs.isaaclab.TASKS`, or the simulator's own for the same."""
    cameras: tuple[str, ...] | None = None
    """Views of an observation, in this order, by their names in the task. None takes all; an empty
    list none: the policy then sees the state alone."""
    camera_size: tuple[Count, Count] = (256, 256)
    """Height and width of the pictures, in pixels."""
    reward: Reward = "success"
    """`success`: 1 when the task is first solved in an episode; `subtasks`: equal parts of 1, one
    for each subtask when it first holds and the last for success; `task`: the simulator's own
    terms, and 1 when the task is first solved."""
    instruction: str | None = None
    """Task text given to the policy; None takes the task's own."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        name, task = find(self.id, self.backends)
        for view in self.cameras or ():
            if view not in task.views:
                raise ValueError(
                    f"cameras: {name} has no view {view}, only {', '.join(task.views)}"
                )
        if len(set(self.cameras or ())) < len(self.cameras or ()):
            raise ValueError("cameras names a view twice")
        if self.reward == "subtasks" and not task.subtasks:
            raise ValueError(f"reward = subtasks: {name} has none; take success or task")
        return self

    @property
    def task(self) -> Task:
        """Its description."""
        return find(self.id, self.backends)[1]

    def views(self) -> tuple[str, ...]:
        """Names of the pictures of an observation."""
        return tuple(self.task.views) if self.cameras is None else self.cameras

    def spaces(self) -> Spaces:
        views, actions = self.views(), len(self.task.actions.dimensions)
        size, state = self.task.state_size, tuple((s.name, s.size) for s in self.task.state)
        if not views:
            return Spaces("state", size, None, actions, state=state)
        return Spaces("images", size, self.camera_size, actions, len(views), views, state)

    def takes(self) -> ActionConvention:
        return self.task.actions

    def task_id(self) -> str:
        return find(self.id, self.backends)[0]

    def steps_per_second(self) -> int:
        return self.task.steps_per_second

    def episode_steps(self) -> tuple[int, ...]:
        return (self.task.max_steps,)

    def processes(self, most: int, on_accelerator: bool) -> int:
        return 1


class IsaacLabParams(ManagerParams):
    """A task of IsaacLab."""

    backends: ClassVar[tuple[Backend, ...]] = ISAACLAB

    physics: Literal["auto", "newton", "isaacsim"] = "auto"
    """Of IsaacLab 3.0: Isaac Sim (PhysX and RTX, a GPU with ray tracing), or Newton, which runs
    without Isaac Sim and on a CPU. `auto` takes Newton where there is no Isaac Sim."""
    fast_physics: bool = False
    """With Newton, one substep of 80 Hz in place of two of 100: about twice as fast, but a gripper
    does not hold what it grasps. For tests."""
    robot: PathText | None = None
    """USD file of the Franka arm that Newton uses; None takes the one that the installer made."""

    def missing_assets(self) -> tuple[str, str] | None:
        if self.physics == "isaacsim" or not self.task.needs_robot:
            return None
        return arm.missing(self.robot)

    def packages(self) -> Mapping[str, str]:
        return {"isaacsim": INSTALL} if self.physics == "isaacsim" else {}

    def process_bytes(self) -> int:
        """Measured: 1.1 GB with cameras, 1.2 GB while kernels are compiled."""
        return 1_200_000_000


class MjlabParams(ManagerParams):
    """A task of mjlab."""

    backends: ClassVar[tuple[Backend, ...]] = MJLAB

    def process_bytes(self) -> int:
        """Measured: up to 0.98 GB."""
        return 1_000_000_000
