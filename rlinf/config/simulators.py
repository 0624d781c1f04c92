"""`env.*.init_params`: what a simulator is built with, one class per `simulator_type`."""

from __future__ import annotations

from typing import Literal

from rlinf.config.base import Count, Positive, Section

Vector3 = tuple[float, float, float]


class SimulatorParams(Section):
    """Base of all simulator blocks."""


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


class ToyReachParams(SimulatorParams):
    """A vectorised point-reaching task in numpy, for tests and for measuring the pipeline."""

    obs_dim: Count = 42
    """Size of the state vector."""
    action_dim: Count = 8
    """Size of the action vector."""


SIMULATOR_PARAMS: dict[str, type[SimulatorParams]] = {
    "maniskill": ManiskillParams,
    "toy_reach": ToyReachParams,
}
