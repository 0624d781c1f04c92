"""IsaacLab 3.0 with Newton and without network: what takes the place of NVIDIA's assets.

The arm is converted from a URDF (`arm.py`), cubes and tables are boxes, the background is white.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WRIST = "/".join(
    ["{ENV_REGEX_NS}/Robot/Geometry", *(f"panda_link{i}" for i in range(9)), "panda_hand"]
)
"""The hand in the converted arm."""


def use_arm(robot: Any, usd: str, gains: Mapping[str, tuple[float, float]]) -> None:
    """Puts the converted Franka arm in the place of the stock one.

    The converted file has no drives, so every actuator needs its gains; and without compensation of
    gravity the arm sags by 9 cm in half a second, where relative inverse kinematics goes astray.

    Args:
        robot: `cfg.scene.robot`.
        usd: the file.
        gains: actuator -> stiffness, damping.
    """
    from isaaclab_newton.sim.schemas import MujocoRigidBodyCfg

    robot.spawn.usd_path, robot.spawn.variants = usd, None
    robot.spawn.rigid_props = [MujocoRigidBodyCfg(gravcomp=1.0)]
    for name, (stiffness, damping) in gains.items():
        actuator = robot.actuators[name]
        actuator.stiffness, actuator.damping = stiffness, damping


def box(
    size: tuple[float, float, float], colour: tuple[float, float, float], mass: float | None = None
) -> Any:
    """A box that collides; one with a mass moves. Metres, kilograms, colour in 0..1."""
    import isaaclab.sim as simulation

    moving: dict[str, Any] = {}
    if mass is not None:
        moving["rigid_props"] = simulation.RigidBodyPropertiesCfg()
        moving["mass_props"] = simulation.MassPropertiesCfg(mass=mass)
    return simulation.CuboidCfg(
        size=size,
        visual_material=simulation.PreviewSurfaceCfg(diffuse_color=colour),
        collision_props=simulation.CollisionPropertiesCfg(),
        **moving,
    )


def draw_with_warp(camera: Any) -> None:
    """The renderer that needs no GPU.

    A camera's pose is read when it draws: by default it is read in a reset, before the arm is put
    to its new place, so the first picture of an episode is taken from where the last one ended.
    """
    from isaaclab_newton.renderers import NewtonWarpRendererCfg

    camera.renderer_cfg = NewtonWarpRendererCfg()
    camera.update_latest_camera_pose = True
    camera.colorize_semantic_segmentation = camera.semantic_segmentation_mapping = None


def pose_of(robot: Any, body: str) -> tuple[Any, Any]:
    """Position [B, 3] in metres and quaternion [B, 4], xyzw, of a body in the world, as of now."""
    (index,), _ = robot.find_bodies(body)
    return robot.data.body_pos_w.torch[:, index], robot.data.body_quat_w.torch[:, index]
