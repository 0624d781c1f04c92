"""`env.*.init_params` of BEHAVIOR."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from rlinf.config.base import Count, NonNegative, Spaces
from rlinf.config.problems import Problem
from rlinf.config.simulator import SimulatorParams
from rlinf.data.conventions import ActionConvention
from rlinf.envs.behavior import challenge, data, robot
from rlinf.envs.behavior.settings import STEPS_PER_SECOND

RobotCamera = Literal["main", "left_wrist", "right_wrist"]


class BehaviorParams(SimulatorParams):
    """Activities of BEHAVIOR-1K with the R1 Pro."""

    tasks: str
    """Activities of the 2025 challenge: names, indices or ranges of these, in a list or with commas
    between, such as `turning_on_radio`, `0`, `0-9,49`. With several, each sub-env has a process of
    its own, which loads another scene where the activity changes."""
    instances: Literal["training", "evaluation"] = "training"
    """Starts that are drawn from: the 200 instances of an activity to train on, or the 10 that the
    challenge evaluates on."""
    cameras: tuple[RobotCamera, ...] = ("main", "left_wrist", "right_wrist")
    """Views of an observation, in this order: on the head, and on both wrists. An empty list: the
    policy sees the state alone."""
    camera_size: tuple[Count, Count] = (224, 224)
    """Height and width of the pictures, in pixels."""
    state: Annotated[tuple[str, ...], Field(min_length=1)] = robot.STATE
    """Slices of the proprioception that make the state, in this order, by their names in
    `rlinf.envs.behavior.robot`. The usual 23 numbers: velocity of the base, torso, then for each
    arm its joints and how far its gripper is open."""
    success_reward: NonNegative = 0.0
    """Added to the reward when the goal is first reached in an episode. The simulator's own is the
    change of the satisfied part of the goal: at most 1 in an episode, negative where it is lost."""
    instruction: str | None = None
    """Task text given to the policy; None takes that of the activity."""
    room_types: tuple[str, ...] | None = None
    """Types of rooms that are loaded, such as `living_room`; None loads the whole scene."""
    isaac_sim: Literal["standalone", "package"] = "standalone"
    """Whether Isaac Sim is the folder in ISAAC_PATH, or a package of the simulator's Python."""

    @field_validator("tasks", mode="before", json_schema_input_type=str | int | list[str | int])
    @classmethod
    def _written(cls, tasks: Any) -> Any:
        """An index alone, and a list, are what they are in YAML: a number, a list."""
        entries = tasks if isinstance(tasks, list | tuple) else [tasks]
        if not entries or not all(type(entry) in (str, int) for entry in entries):
            return tasks
        return ",".join(map(str, entries))

    @field_validator("tasks")
    @classmethod
    def _activities(cls, tasks: str) -> str:
        challenge.select(tasks)
        return tasks

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.state:
            if name not in robot.PROPRIO and name not in robot.WIDTHS:
                known = ", ".join((*robot.PROPRIO, *robot.WIDTHS))
                raise ValueError(f"state: there is no slice {name}; there are {known}")
        for key, names in (("cameras", self.cameras), ("state", self.state)):
            if len(set(names)) < len(names):
                raise ValueError(f"{key} names something twice")
        return self

    def activities(self) -> tuple[str, ...]:
        """Names in BEHAVIOR-1K."""
        return challenge.select(self.tasks)

    def spaces(self) -> Spaces:
        state = tuple((name, robot.size_of(name)) for name in self.state)
        size = sum(count for _, count in state)
        if not self.cameras:
            return Spaces("state", size, None, robot.ACTION_DIM, state=state)
        views = len(self.cameras)
        return Spaces(
            "images", size, self.camera_size, robot.ACTION_DIM, views, self.cameras, state
        )

    def takes(self) -> ActionConvention:
        return robot.CONVENTION

    def task_id(self) -> str:
        return self.tasks

    def task_groups(self) -> tuple[str, ...]:
        activities = self.activities()
        return activities if len(activities) > 1 else ()

    def steps_per_second(self) -> int:
        return STEPS_PER_SECOND

    def num_starts(self) -> int:
        return challenge.INSTANCES[self.instances]

    def processes(self, most: int, on_accelerator: bool) -> int:
        return 1 if len(self.activities()) == 1 else most

    def problems(self, key: str, on_accelerator: bool, num_envs: int) -> Iterator[Problem]:
        if num_envs > 1 and len(self.activities()) > 1:
            yield Problem(
                f"{key}.tasks = {self.tasks}: all sub-envs of a process run one activity, and "
                f"there are {num_envs} in one",
                "choose one activity, or as many simulator processes as sub-envs "
                "(env.*.num_processes, env.*.total_num_envs)",
            )

    def missing_assets(self) -> tuple[str, str] | None:
        lacking = list(data.lacking(self.isaac_sim == "standalone"))
        if not lacking:
            return None
        messages, fixes = zip(*lacking, strict=True)
        return f"BEHAVIOR: {'; '.join(messages)}", "; ".join(fixes)

    def device_bytes(self, envs: int) -> int:
        """As others report it for an env with three cameras: 8.2 GiB."""
        return envs * 8_800_000_000

    def process_bytes(self) -> int:
        """Assumed: OmniGibson with one scene; no run of ours has measured it."""
        return 16_000_000_000
