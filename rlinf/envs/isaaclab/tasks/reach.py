"""A Franka arm whose hand shall go to a point. The state is small and steps are fast."""

from __future__ import annotations

from typing import Any

from rlinf.data.conventions import ActionConvention, Dimension
from rlinf.envs.isaaclab import newton
from rlinf.envs.isaaclab.task import Scene, StateSlice, Task

_STEP = 0.05  # metres of an action of 1
_DISTANCE_WEIGHT = -3.0  # per metre and second; the stock -0.2 drowns in the 1 for success
_GAINS = (2000.0, 100.0)  # stiffness, damping


def prepare(cfg: Any, scene: Scene) -> None:
    """Position alone counts, and the hand is steered by it."""
    import isaaclab.sim as simulation
    from isaaclab.controllers.differential_ik_cfg import DifferentialIKControllerCfg
    from isaaclab.managers import ObservationTermCfg, SceneEntityCfg
    from isaaclab.sensors import CameraCfg

    policy = cfg.observations.policy
    policy.enable_corruption = False
    for name in ("pose_command", "actions", "joint_vel"):
        setattr(policy, name, None)
    # Nothing moves the fingers, so where they drift to is left out.
    policy.joint_pos.params = {"asset_cfg": SceneEntityCfg("robot", joint_names=["panda_joint.*"])}
    policy.goal = ObservationTermCfg(func=to_goal)
    arm = cfg.actions.arm_action
    arm.controller = DifferentialIKControllerCfg(
        command_type="position",
        use_relative_mode=True,
        ik_method="dls",
        ik_params={"lambda_val": 0.01},
    )
    arm.scale = (_STEP,) * 3
    command = cfg.commands.ee_pose
    command.debug_vis = False
    command.orientation_success_threshold = 10.0  # radians: any
    for name in ("success", "end_effector_orientation_tracking"):
        setattr(cfg.rewards, name, None)  # success is rewarded by the adapter
    cfg.rewards.end_effector_position_tracking.weight = _DISTANCE_WEIGHT
    for name in ("action_rate", "joint_vel"):  # rewards do not depend on what was trained before
        setattr(cfg.curriculum, name, None)
    cfg.scene.main_cam = CameraCfg(
        prim_path="{ENV_REGEX_NS}/main_cam",
        height=scene.height,
        width=scene.width,
        data_types=["rgb"],
        spawn=simulation.PinholeCameraCfg(
            focal_length=24.0, horizontal_aperture=20.955, clipping_range=(0.1, 4.0)
        ),
        offset=CameraCfg.OffsetCfg(
            pos=(1.6, 0.0, 0.6), rot=(-0.61237, -0.61237, 0.35355, 0.35355), convention="ros"
        ),
    )
    if scene.newton:
        _without_isaac_sim(cfg, scene)


def _without_isaac_sim(cfg: Any, scene: Scene) -> None:
    stage = cfg.scene
    stage.replicate_physics, stage.ground, stage.table = True, None, None
    newton.use_arm(stage.robot, scene.robot, dict.fromkeys(stage.robot.actuators, _GAINS))
    newton.draw_with_warp(stage.main_cam)
    cfg.num_rerenders_on_reset = 0
    if scene.fast:
        cfg.sim.physics.num_substeps, cfg.sim.dt, cfg.decimation = 1, 1 / 60, 2


def to_goal(env: Any) -> Any:
    """[B, 3] metres from the hand to the goal; the arm's base stands at the origin, unturned."""
    place, _ = newton.pose_of(env.scene["robot"], "panda_hand")
    goal = env.command_manager.get_command("ee_pose")[:, :3]
    return goal - (place - env.scene.env_origins)


TASK = Task(
    ids={"isaaclab3": "Isaac-Reach-Franka"},
    instruction="move the hand to the goal",
    views={"main": "main_cam"},
    state=(StateSlice("joints and way to the goal", "policy", 10),),
    actions=ActionConvention(
        "IsaacLab IK-Rel position", tuple(Dimension(name, "m", _STEP) for name in ("x", "y", "z"))
    ),
    max_steps=50,
    steps_per_second=30,
    prepare=prepare,
    overrides={"isaaclab3": ("presets=diffik",)},
    needs_robot=True,
)
