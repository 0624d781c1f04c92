"""What ManiSkill 3.0.1 says of its tasks only when one is built: sizes, controllers, rewards.

With it a configuration that cannot run is refused before anything starts. Of other tasks only the
names are here; they are looked at when they are built. Tests compare both with the package; the
states of tasks that need assets (kits, YCB, faucets) are counted in its source, and not run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_DENSE = ("sparse", "dense", "normalized_dense")
_ONLY_SPARSE = ("sparse",)
_STAGED = ("sparse", "staged")
_WIDOWX = "widowx250s_bridgedataset_flat_table"
_ALL_SETS = ("train", "test", "all")
_BRIDGE = (480, 640)  # the camera of BridgeData V2


class RobotTask(NamedTuple):
    """A task with one robot."""

    robot: str
    state_dim: int | None  # numbers of its state vector; None: it has none
    cameras: int = 1  # pictures of an observation
    rewards: tuple[str, ...] = _DENSE  # values of `reward_mode`, beside `raw`
    starts: int = 0  # numbered starts; 0: any seed is one
    has_state: bool = True  # whether there is `obs_mode: state`
    object_sets: tuple[str, ...] = ()  # values of `obj_set`
    picture_size: tuple[int, int] = (128, 128)  # height and width in pixels, of every camera


_JOINTS_AND_TOOL = {
    "pd_joint_delta_pos": 8,
    "pd_joint_pos": 8,
    "pd_ee_delta_pos": 4,
    "pd_ee_delta_pose": 7,
    "pd_ee_pose": 7,
    "pd_joint_target_delta_pos": 8,
    "pd_ee_target_delta_pos": 4,
    "pd_ee_target_delta_pose": 7,
    "pd_joint_vel": 8,
    "pd_joint_pos_vel": 15,
    "pd_joint_delta_pos_vel": 15,
}

CONTROLLERS: Mapping[str, Mapping[str, int]] = {
    "panda": _JOINTS_AND_TOOL,
    "panda_wristcam": _JOINTS_AND_TOOL,
    "panda_stick": {
        "pd_joint_delta_pos": 7,
        "pd_joint_pos": 7,
        "pd_ee_delta_pos": 3,
        "pd_ee_delta_pose": 6,
        "pd_ee_delta_pose_align": 6,
        "pd_ee_pose": 6,
        "pd_joint_target_delta_pos": 7,
        "pd_ee_target_delta_pos": 3,
        "pd_ee_target_delta_pose": 6,
        "pd_joint_vel": 7,
        "pd_joint_pos_vel": 14,
        "pd_joint_delta_pos_vel": 14,
    },
    _WIDOWX: {"arm_pd_ee_target_delta_pose_align2_gripper_pd_joint_pos": 7},
    "so100": {"pd_joint_delta_pos": 6, "pd_joint_pos": 6, "pd_joint_target_delta_pos": 6},
}
"""Robot -> its values of `control_mode`, its own first, and the numbers of an action."""

JOINTS: Mapping[str, int] = {
    "panda": 9,
    "panda_wristcam": 9,
    "panda_stick": 7,
    _WIDOWX: 8,
    "so100": 6,
}
"""Robot -> positions that its state has: those of the arm, then those of the fingers."""
VIEWS = ("main", "wrist")
"""What models call the pictures of a task, in their order; a second one is that of a wrist."""


def _bridge(starts: int) -> RobotTask:
    return RobotTask(_WIDOWX, None, 1, _STAGED, starts, has_state=False, picture_size=_BRIDGE)


def _plate(*sets: str) -> RobotTask:
    return RobotTask(
        *(_WIDOWX, None, 1, _STAGED),
        has_state=False,
        object_sets=sets or _ALL_SETS,
        picture_size=_BRIDGE,
    )


TASKS: Mapping[str, RobotTask] = {
    "AssemblingKits-v1": RobotTask("panda_wristcam", 42, 2, _ONLY_SPARSE),
    "LiftPegUpright-v1": RobotTask("panda", 32),
    "PegInsertionSide-v1": RobotTask("panda_wristcam", 43, 2),
    "PickClutterYCB-v1": RobotTask("panda", 18, 1, _ONLY_SPARSE),
    "PickCube-v1": RobotTask("panda", 42),
    "PickCubeSO100-v1": RobotTask("so100", 36),
    "PickSingleYCB-v1": RobotTask("panda_wristcam", 45, 2),
    "PlaceSphere-v1": RobotTask("panda", 39),
    "PlugCharger-v1": RobotTask("panda_wristcam", 46, 2, _ONLY_SPARSE),
    "PokeCube-v1": RobotTask("panda", 54),
    "PullCube-v1": RobotTask("panda", 35),
    "PullCubeTool-v1": RobotTask("panda", 39),
    "PushCube-v1": RobotTask("panda", 35),
    "PushT-v1": RobotTask("panda_stick", 31),
    "RollBall-v1": RobotTask("panda", 44),
    "StackCube-v1": RobotTask("panda_wristcam", 48, 2),
    "StackPyramid-v1": RobotTask("panda_wristcam", 64, 2, _ONLY_SPARSE),
    "TurnFaucet-v1": RobotTask("panda_wristcam", 33, 2, _ONLY_SPARSE),
    "PutCarrotOnPlateInScene-v1": _bridge(24),
    "PutSpoonOnTableClothInScene-v1": _bridge(24),
    "StackGreenCubeOnYellowCubeBakedTexInScene-v1": _bridge(24),
    "PutOnPlateInScene25Main-v3": _plate(),
    "PutOnPlateInScene25MainCarrot-v3": _plate("train", "test"),
    "PutOnPlateInScene25MainImage-v3": _plate("train", "test"),
    "PutOnPlateInScene25Single-v1": _plate("train"),
    "PutOnPlateInScene25VisionImage-v1": _plate(),
    "PutOnPlateInScene25VisionTexture03-v1": _plate(),
    "PutOnPlateInScene25VisionTexture05-v1": _plate(),
    "PutOnPlateInScene25VisionWhole03-v1": _plate(),
    "PutOnPlateInScene25VisionWhole05-v1": _plate(),
    "PutOnPlateInScene25Carrot-v1": _plate(),
    "PutOnPlateInScene25Plate-v1": _plate(),
    "PutOnPlateInScene25Instruct-v1": _plate(),
    "PutOnPlateInScene25MultiCarrot-v1": _plate(),
    "PutOnPlateInScene25MultiPlate-v1": _plate(),
    "PutOnPlateInScene25Position-v1": _plate(),
    "PutOnPlateInScene25EEPose-v1": _plate(),
    "PutOnPlateInScene25PositionChangeTo-v1": _plate("test"),
}
"""Tasks on a table."""

OTHER_TASKS = frozenset(
    {
        "AnymalC-Reach-v1",
        "AnymalC-Spin-v1",
        "ArchitecTHOR_SceneManipulation-v1",
        "DrawSVG-v1",
        "DrawTriangle-v1",
        "Empty-v1",
        "FMBAssembly1Easy-v1",
        "InsertFlower-v1",
        "MS-AntRun-v1",
        "MS-AntWalk-v1",
        "MS-CartpoleBalance-v1",
        "MS-CartpoleSwingUp-v1",
        "MS-HopperHop-v1",
        "MS-HopperStand-v1",
        "MS-HumanoidRun-v1",
        "MS-HumanoidStand-v1",
        "MS-HumanoidWalk-v1",
        "OpenCabinetDoor-v1",
        "OpenCabinetDrawer-v1",
        "PickCubeWidowXAI-v1",
        "PutEggplantInBasketScene-v1",
        "ReplicaCADPrepareGroceriesTrain_SceneManipulation-v1",
        "ReplicaCADPrepareGroceriesVal_SceneManipulation-v1",
        "ReplicaCADSetTableTrain_SceneManipulation-v1",
        "ReplicaCADSetTableVal_SceneManipulation-v1",
        "ReplicaCADTidyHouseTrain_SceneManipulation-v1",
        "ReplicaCADTidyHouseVal_SceneManipulation-v1",
        "ReplicaCAD_SceneManipulation-v1",
        "RoboCasaKitchen-v1",
        "RotateSingleObjectInHandLevel0-v1",
        "RotateSingleObjectInHandLevel1-v1",
        "RotateSingleObjectInHandLevel2-v1",
        "RotateSingleObjectInHandLevel3-v1",
        "RotateValveLevel0-v1",
        "RotateValveLevel1-v1",
        "RotateValveLevel2-v1",
        "RotateValveLevel3-v1",
        "RotateValveLevel4-v1",
        "SO100GraspCube-v1",
        "SceneManipulation-v1",
        "TableTopFreeDraw-v1",
        "TriFingerRotateCubeLevel0-v1",
        "TriFingerRotateCubeLevel1-v1",
        "TriFingerRotateCubeLevel2-v1",
        "TriFingerRotateCubeLevel3-v1",
        "TriFingerRotateCubeLevel4-v1",
        "TwoRobotPickCube-v1",
        "TwoRobotStackCube-v1",
        "UnitreeG1PlaceAppleInBowl-v1",
        "UnitreeG1Stand-v1",
        "UnitreeG1TransportBox-v1",
        "UnitreeGo2-Reach-v1",
        "UnitreeH1Stand-v1",
    }
)
"""Names of the package's other tasks."""
