"""`env.*.init_params`: what a simulator is built with, one class per `simulator_type`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, Self

from pydantic import model_validator

from rlinf.config.base import Count, Positive, Section, Spaces

Vector3 = tuple[float, float, float]


class SimulatorParams(Section):
    """Base of all simulator blocks."""

    @abstractmethod
    def spaces(self) -> Spaces:
        """Observations and actions, as far as the configuration tells."""

    @abstractmethod
    def uses_processes(self, on_accelerator: bool) -> bool:
        """Whether sub-envs live in sub-processes of the env worker."""

    def task_id(self) -> str:
        """The simulator's name of the task; empty where there is only one."""
        return ""

    def steps_per_second(self) -> int:
        """Actions per second of simulated time; 20 where a simulator has no clock."""
        return 20

    def task_groups(self) -> tuple[str, ...]:
        """Group of each task, such as the suite it comes from; empty where there are none."""
        return ()

    def episode_steps(self) -> tuple[int, ...]:
        """Step limit of each task within `max_episode_steps`; empty where that is the only one."""
        return ()

    @abstractmethod
    def process_bytes(self) -> int:
        """Host memory of one sub-process, or of the simulator inside the env worker."""


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
    control_mode: str = "pd_ee_delta_pose"
    """Controller the actions go to."""
    sim_backend: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto`: gpu batching where the env worker owns an accelerator, else CPU sub-processes."""
    reward_mode: Literal["sparse", "dense", "normalized_dense", "raw"] = "sparse"
    """Reward of the task; `raw` is the task's own default."""
    camera: Camera | None = None
    """Camera of the policy's image; None keeps the task's own cameras."""
    sim_freq: Count = 100
    """Physics steps per second."""
    control_freq: Count = 20
    """Actions per second; divides `sim_freq`."""
    light_visuals: bool = False
    """Draw each robot link by its collision hull: about eight times faster on a CPU renderer, the
    arm looks plainer, physics is untouched."""
    shader: Literal["minimal", "default", "rt-fast", "rt-med", "rt"] = "minimal"
    """ManiSkill shader pack of the camera."""
    instruction: str | None = None
    """Task text given to the policy; None takes the text this package keeps for the task."""

    @model_validator(mode="after")
    def _whole_physics_steps_per_action(self) -> Self:
        if self.sim_freq % self.control_freq:
            raise ValueError(
                f"control_freq {self.control_freq} must divide sim_freq {self.sim_freq}"
            )
        return self

    def spaces(self) -> Spaces:
        if self.obs_mode == "state":
            return Spaces("state", None, None, None)
        size = (self.camera.height, self.camera.width) if self.camera is not None else None
        return Spaces("images", None, size, None)

    def task_id(self) -> str:
        return self.id

    def steps_per_second(self) -> int:
        return self.control_freq

    def uses_processes(self, on_accelerator: bool) -> bool:
        return self.sim_backend == "cpu" or (self.sim_backend == "auto" and not on_accelerator)

    def process_bytes(self) -> int:
        """Measured: up to 0.81 GB with a spawned interpreter, torch, SAPIEN and one task."""
        return 800_000_000


class ToyReachParams(SimulatorParams):
    """A vectorised point-reaching task in numpy, for tests and for measuring the pipeline."""

    obs_dim: Count = 42
    """Size of the state vector."""
    action_dim: Count = 8
    """Size of the action vector."""

    def spaces(self) -> Spaces:
        return Spaces("state", self.obs_dim, None, self.action_dim)

    def uses_processes(self, on_accelerator: bool) -> bool:
        return False

    def process_bytes(self) -> int:
        return 0
