"""Three cubes, to be stacked: blue below, red on it, green on top. A Franka arm, two cameras."""

from __future__ import annotations

from typing import Any

from rlinf.data.conventions import Gripper, end_effector
from rlinf.envs.isaaclab import newton
from rlinf.envs.isaaclab.task import Scene, StateSlice, Task

_CUBE_SIZE = (0.0406, 0.0406, 0.0406)  # metres
_CUBES = {"cube_1": (0.0, 0.0, 1.0), "cube_2": (1.0, 0.0, 0.0), "cube_3": (0.0, 1.0, 0.0)}
_TOOL = (0.0, 0.0, 0.1034)  # metres from the hand's frame, as IsaacLab's sensor has it
_NOT_READ = ("table_cam_segmentation", "table_cam_normals", "table_cam_depth")
_CAMERAS = ("table_cam", "wrist_cam")
_RECOLOURS = (
    "randomize_light",
    "randomize_table_visual_material",
    "randomize_robot_arm_visual_texture",
)
# With stiffer fingers the cubes are squeezed out of the hand.
_GAINS = {
    "panda_arm": (2000.0, 100.0),
    "panda_hand": (300.0, 30.0),
    "panda_finger2_passive": (300.0, 30.0),
}


def prepare(cfg: Any, scene: Scene) -> None:
    """Leaves out what no policy reads; with Newton, replaces what would come from a server."""
    for name in (*_NOT_READ, *_CAMERAS):  # pictures are read from the cameras themselves
        setattr(cfg.observations.policy, name, None)
    for name in _CAMERAS:
        camera = getattr(cfg.scene, name)
        camera.height, camera.width, camera.data_types = scene.height, scene.width, ["rgb"]
    if scene.newton:
        _without_isaac_sim(cfg, scene)


def _without_isaac_sim(cfg: Any, scene: Scene) -> None:
    stage = cfg.scene
    stage.replicate_physics, stage.plane = True, None
    newton.use_arm(stage.robot, scene.robot, _GAINS)
    for name, colour in _CUBES.items():
        getattr(stage, name).spawn = newton.box(_CUBE_SIZE, colour, mass=0.1)
    stage.table.spawn = newton.box((1.3, 0.9, 0.05), (0.6, 0.5, 0.4))
    stage.table.init_state.pos = (0.5, 0.0, -0.025)
    stage.table.init_state.rot = (0.0, 0.0, 0.0, 1.0)
    # With Newton, IsaacLab's sensor of the hand is brought up to date by a step alone: after a
    # reset it would show where the hand ended in the episode before.
    for name, term in (("eef_pos", hand_position), ("eef_quat", hand_rotation)):
        getattr(cfg.observations.policy, name).func = term
    for name in _RECOLOURS:
        setattr(cfg.events, name, None)
    for name in _CAMERAS:
        newton.draw_with_warp(getattr(stage, name))
    stage.wrist_cam.prim_path = f"{newton.WRIST}/wrist_cam"
    cfg.num_rerenders_on_reset = 0
    # The stock 15 do not suffice where the fingers hold a cube: it creeps out of the hand.
    cfg.sim.physics.solver_cfg.ls_iterations = 50
    if scene.fast:
        cfg.sim.physics.num_substeps, cfg.sim.dt, cfg.decimation = 1, 0.0125, 4


def hand_position(env: Any) -> Any:
    """[B, 3] metres from the env's origin to between the fingers."""
    from isaaclab.utils.math import quat_apply

    place, rotation = newton.pose_of(env.scene["robot"], "panda_hand")
    tool = place.new_tensor(_TOOL).expand_as(place)
    return place + quat_apply(rotation, tool) - env.scene.env_origins


def hand_rotation(env: Any) -> Any:
    """[B, 4] quaternion of the hand, xyzw."""
    return newton.pose_of(env.scene["robot"], "panda_hand")[1]


TASK = Task(
    ids={
        "isaaclab2": "Isaac-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos-v0",
        "isaaclab3": "IsaacContrib-Stack-Cube-Franka-IK-Rel-Visuomotor-Cosmos",
    },
    instruction="stack the cubes: the red one on the blue one, and the green one on the red one",
    views={"main": "table_cam", "wrist": "wrist_cam"},
    state=(
        StateSlice("end-effector position", "policy/eef_pos", 3),  # metres, from the env's origin
        StateSlice("end-effector rotation", "policy/eef_quat", 3, rotation=True),
        StateSlice("gripper", "policy/gripper_pos", 2),  # metres, the second finger's is negative
    ),
    # Relative inverse kinematics multiplies by 0.5.
    actions=end_effector("IsaacLab IK-Rel", 0.5, 0.5, Gripper(open=1, closed=-1), "axis-angle"),
    max_steps=600,
    steps_per_second=20,
    prepare=prepare,
    subtasks=("subtask_terms/grasp_1", "subtask_terms/stack_1", "subtask_terms/grasp_2"),
    needs_robot=True,
)
