"""Settings of ManiSkill3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Literal, Self

from pydantic import model_validator

from rlinf.assets import maniskill
from rlinf.assets.base import describe_missing
from rlinf.config.base import Count, Positive, Section, Spaces
from rlinf.config.nearest import nearest
from rlinf.config.problems import Problem
from rlinf.config.simulator import SimulatorParams
from rlinf.data.conventions import ActionConvention
from rlinf.envs.maniskill.conventions import taken
from rlinf.envs.maniskill.tasks import CONTROLLERS, JOINTS, OTHER_TASKS, TASKS, VIEWS

Vector3 = tuple[float, float, float]


class Camera(Section):
    """A pinhole camera in the world frame."""

    eye: Vector3
    """Position in metres."""
    target: Vector3
    """Point it looks at, in metres."""
    fov: Positive = 1.0
    """Vertical field of view in radians."""
    width: Count = 128
    """Image width in pixels."""
    height: Count = 128
    """Image height in pixels."""


class ManiskillParams(SimulatorParams):
    """A ManiSkill 3 task."""

    id: str
    """Registered task name, for example `PushCube-v1`."""
    obs_mode: Literal["state", "rgb"] = "rgb"
    """`state`: the task's flat state vector; `rgb`: camera images and robot state."""
    control_mode: str | None = "pd_ee_delta_pose"
    """Controller the actions go to; None takes the robot's own."""
    sim_backend: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto`: gpu batching where the env worker owns an accelerator, else CPU sub-processes."""
    reward_mode: Literal["sparse", "dense", "normalized_dense", "staged", "raw"] = "sparse"
    """Reward of the task: `sparse` is 1 on success; `staged`, for tasks that say whether the object
    is held, 0.1 once it was held, 0.1 more once it was held for 5 steps, and 1 while the task is
    solved by having held it; `raw` is the task's own default."""
    obj_set: Literal["train", "test", "all"] | None = None
    """PutOnPlateInScene25 tasks need it: which values of the factor that the task varies episodes
    have: those of training, unseen ones, or both."""
    camera: Camera | None = None
    """Camera of the policy's image; None keeps the task's own cameras."""
    image_size: tuple[Count, Count] | None = None
    """Height and width in pixels that pictures are reduced to before they reach the policy; None
    keeps those of the camera. Small pictures save memory: one of 640 x 480 has 0.9 MB."""
    sim_freq: Count | None = None
    """Physics steps per second; None takes the task's own number."""
    control_freq: Count | None = None
    """Actions per second; divides `sim_freq`. None takes the task's own number."""
    light_visuals: bool = False
    """Draw each robot link by its collision hull: about eight times faster on a CPU renderer, the
    arm looks plainer, physics is untouched."""
    shader: Literal["minimal", "default", "rt-fast", "rt-med", "rt"] = "minimal"
    """ManiSkill shader pack of the camera."""
    instruction: str | None = None
    """Task text given to the policy; None takes the task's own, or the one this package keeps for
    it. A task without either is named by its id where the policy sees the state alone."""

    @model_validator(mode="after")
    def _whole_physics_steps_per_action(self) -> Self:
        if self.sim_freq and self.control_freq and self.sim_freq % self.control_freq:
            raise ValueError(
                f"control_freq {self.control_freq} must divide sim_freq {self.sim_freq}"
            )
        return self

    @model_validator(mode="after")
    def _object_set_where_there_are_some(self) -> Self:
        if self._of_the_plate and self.obj_set is None:
            raise ValueError(f"{self.id} needs obj_set: train, test or all")
        if self.obj_set is not None and not self._of_the_plate:
            raise ValueError(f"{self.id} has no object sets; remove obj_set")
        return self

    def spaces(self) -> Spaces:
        task = TASKS.get(self.id)
        actions = self._controllers().get(self._mode())
        if self.obs_mode == "state":
            return Spaces("state", task and task.state_dim, None, actions)
        views = state = None
        if task is not None:
            views, state = VIEWS[: task.cameras], (("joints", JOINTS[task.robot]),)
        size = self._picture_size()
        return Spaces("images", None, size, actions, task and task.cameras, views, state)

    def _controllers(self) -> Mapping[str, int]:
        """Those of the task's robot and the numbers of an action; none where it is not known."""
        return CONTROLLERS[TASKS[self.id].robot] if self.id in TASKS else {}

    def _mode(self) -> str:
        """The controller; empty for one that only the simulator knows."""
        return self.control_mode or next(iter(self._controllers()), "")

    def controllers_of(self, action_dim: int) -> tuple[str, ...]:
        return tuple(mode for mode, size in self._controllers().items() if size == action_dim)

    def num_starts(self) -> int:
        return TASKS[self.id].starts if self.id in TASKS else 0

    def problems(self, key: str, on_accelerator: bool, num_envs: int) -> Iterator[Problem]:
        yield from self._modes(key)
        on_gpu = self.sim_backend == "gpu" or (self.sim_backend == "auto" and on_accelerator)
        if self.sim_backend == "gpu" and not on_accelerator:
            yield Problem(
                f"{key}.sim_backend = gpu: the env workers have no accelerator",
                f"set {key}.sim_backend=auto, or place env on accelerators in "
                "cluster.component_placement",
            )
        if on_gpu and self.light_visuals:
            yield Problem(
                f"{key}.light_visuals = true: GPU simulation draws the stock meshes",
                f"set {key}.light_visuals=false, or {key}.sim_backend=cpu",
            )
        if on_gpu and self.num_starts() and num_envs > 1:
            yield Problem(
                f"{key}.id = {self.id}: its resets let things settle, which moves every env of a "
                "batch",
                f"set {key}.sim_backend=cpu",
            )

    def _modes(self, key: str) -> Iterator[Problem]:
        """Values that the task does not have."""
        if self.id not in TASKS:
            if self.id not in OTHER_TASKS:
                known = nearest(self.id, (*TASKS, *OTHER_TASKS))
                yield Problem(
                    f"{key}.id = {self.id}: ManiSkill has no such task",
                    f"set {key}.id={known}" if known else "name one of ManiSkill's own tasks",
                )
            return
        task, controllers = TASKS[self.id], self._controllers()
        if self.control_mode is not None and self.control_mode not in controllers:
            near = get_close_matches(self.control_mode, controllers, n=1) or list(controllers)
            yield Problem(
                f"{key}.control_mode = {self.control_mode}: the robot {task.robot} of {self.id} "
                f"has {', '.join(controllers)}",
                f"set {key}.control_mode={near[0]}",
            )
        if self.reward_mode not in (*task.rewards, "raw"):
            yield Problem(
                f"{key}.reward_mode = {self.reward_mode}: {self.id} has {', '.join(task.rewards)}, "
                "and raw for its own default",
                f"set {key}.reward_mode={task.rewards[0]}",
            )
        if self.obs_mode == "state" and not task.has_state:
            yield Problem(
                f"{key}.obs_mode = state: {self.id} shows pictures only", f"set {key}.obs_mode=rgb"
            )
        if self.obs_mode == "rgb" and self.camera is not None and self.image_size is None:
            main, other = (self.camera.height, self.camera.width), task.picture_size
            if task.cameras > 1 and main != other:
                yield Problem(
                    f"{key}.camera: {self.id} has a second camera, whose pictures are "
                    f"{other[0]} x {other[1]}, and this one's are {main[0]} x {main[1]}",
                    f"set {key}.image_size=[{min(main, other)[0]},{min(main, other)[1]}]",
                )
        if self.obj_set is not None and task.object_sets and self.obj_set not in task.object_sets:
            yield Problem(
                f"{key}.obj_set = {self.obj_set}: {self.id} has {', '.join(task.object_sets)}",
                f"set {key}.obj_set={task.object_sets[0]}",
            )

    def takes(self) -> ActionConvention | None:
        return taken(self.id, self._mode())

    def _picture_size(self) -> tuple[int, int] | None:
        if self.image_size is not None:
            return self.image_size
        if self.camera is not None:
            return self.camera.height, self.camera.width
        return TASKS[self.id].picture_size if self.id in TASKS else None

    @property
    def _of_the_plate(self) -> bool:
        return self.id.startswith(maniskill.PLATE_PREFIX)

    def without_effect(self) -> Iterator[tuple[str, str]]:
        if self.obs_mode == "state":
            yield "camera image_size", "obs_mode = state"

    def missing_assets(self) -> tuple[str, str] | None:
        needed = maniskill.needed_by(self.id)
        return describe_missing(maniskill.GROUP, needed, f"env.*.init_params.id = {self.id}")

    def task_id(self) -> str:
        return self.id

    def steps_per_second(self) -> int:
        return self.control_freq or (5 if self._of_the_plate else 20)

    def processes(self, most: int, on_accelerator: bool) -> int:
        batched = self.sim_backend == "gpu" or (self.sim_backend == "auto" and on_accelerator)
        return 0 if batched else most

    def device_bytes(self, envs: int) -> int:
        """Assumed: 3 GB for physics and renderer, and 16 bytes per pixel of the camera and env.
        On a CPU it draws on the CPU too.
        """
        if self.sim_backend == "cpu":
            return 0
        height, width = self._picture_size() or (128, 128)
        return 3_000_000_000 + 16 * height * width * envs

    def process_bytes(self) -> int:
        """Measured: up to 1.6 and 0.81 GB, with an interpreter, torch, SAPIEN and one task."""
        return 1_600_000_000 if self._of_the_plate else 800_000_000

    def shared_bytes(self) -> int:
        """Measured: of four processes of 0.69 GB each, 0.32 GB are its own; 0.36 GB are shared."""
        return 360_000_000
