"""`env.*.init_params` of LIBERO: suites, and the protocols under which results were published."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from rlinf.assets import libero, libero_plus
from rlinf.assets.base import Asset, describe_missing
from rlinf.config.base import Count, Index, Spaces
from rlinf.config.simulator import SimulatorParams
from rlinf.data.conventions import ActionConvention
from rlinf.envs.libero.actions import ROBOSUITE_OSC_POSE

Suite = Literal[
    "libero_spatial", "libero_object", "libero_goal", "libero_90", "libero_10", "libero_130"
]
PerturbedSuite = Literal[
    "libero_spatial_swap",
    "libero_spatial_object",
    "libero_spatial_lan",
    "libero_spatial_task",
    "libero_object_swap",
    "libero_object_object",
    "libero_object_lan",
    "libero_object_task",
    "libero_goal_swap",
    "libero_goal_object",
    "libero_goal_lan",
    "libero_goal_task",
    "libero_10_swap",
    "libero_10_object",
    "libero_10_lan",
    "libero_10_task",
]
PlusSuite = Literal["libero_spatial", "libero_object", "libero_goal", "libero_10"]
Category = Literal[
    "camera",
    "robot",
    "language",
    "light",
    "background",
    "noise",
    "layout_added",
    "layout_moved",
]
CameraName = Literal["agentview", "robot0_eye_in_hand"]
VIEWS: dict[CameraName, str] = {"agentview": "main", "robot0_eye_in_hand": "wrist"}
"""What models call the pictures."""
STATE = (("end-effector position", 3), ("end-effector rotation", 3), ("gripper", 2))
"""Names and sizes of the state's slices: metres, axis times angle in radians, metres."""
SettleGripper = Literal["open", "half_open"]
FixtureSeed = Literal["episode", "zero", "running"]
ProtocolName = Literal["rlinf", "openvla_oft", "simplevla_rl"]

TASKS: dict[str, int] = {
    "libero_spatial": 10,
    "libero_object": 10,
    "libero_goal": 10,
    "libero_90": 90,
    "libero_10": 10,
}
"""Tasks of each suite of the package. `libero_130` is all of them, in this order."""


def _of_categories(*tasks: int) -> dict[Category, int]:
    return dict(zip(get_args(Category), tasks, strict=True))


CHANGED_TASKS: dict[PlusSuite, dict[Category, int]] = {
    "libero_spatial": _of_categories(376, 350, 390, 292, 258, 351, 208, 177),
    "libero_object": _of_categories(396, 398, 354, 297, 248, 422, 208, 195),
    "libero_goal": _of_categories(408, 409, 410, 279, 281, 379, 240, 185),
    "libero_10": _of_categories(419, 393, 383, 274, 289, 449, 173, 139),
}
"""Tasks of LIBERO-Plus, 10,030 in all."""

NEED_OWN_ASSETS: tuple[Category, ...] = ("light", "background", "layout_added")
"""What LIBERO's own meshes and textures do not serve for."""

TRIALS = 50
"""Recorded start states of every task."""

_LONGEST = dict.fromkeys(TASKS, 512)


@dataclass(frozen=True, slots=True)
class Protocol:
    """What an evaluation of LIBERO has to fix beside suite and policy."""

    settle_steps: int  # steps without motion after a reset, before the first observation
    settle_gripper: SettleGripper  # what the fingers do meanwhile
    rotate_180: bool  # turn the upside-down images of MuJoCo by 180 degrees
    camera_size: int  # pixels, side of the images; the policy resizes them as it was trained
    fixture_seed: FixtureSeed  # what the poses of cabinets, stoves and racks depend on
    episode_steps: dict[str, int]  # step limit of each suite, settling not counted


PROTOCOLS: dict[ProtocolName, Protocol] = {
    "rlinf": Protocol(15, "open", True, 256, "episode", _LONGEST),
    "openvla_oft": Protocol(
        10,
        "open",
        True,
        256,
        "running",
        {
            "libero_spatial": 220,
            "libero_object": 280,
            "libero_goal": 300,
            "libero_90": 400,
            "libero_10": 520,
        },
    ),
    "simplevla_rl": Protocol(10, "open", True, 256, "zero", _LONGEST),
}


class SuiteParams(SimulatorParams):
    """Tasks of a suite. A value of None is the protocol's."""

    same_task = ("renderer",)

    task_suite_name: str
    """Suite."""
    protocol: ProtocolName = "rlinf"
    """Whose settings hold where none is given here: those of RLinf's published LIBERO results, of
    OpenVLA-OFT's evaluation, or of SimpleVLA-RL."""
    task_ids: Annotated[tuple[Index, ...], Field(min_length=1)] | None = None
    """Tasks of the suite, by index; None for all."""
    cameras: Annotated[tuple[CameraName, ...], Field(min_length=1)] = ("agentview",)
    """Views of an observation, in this order: the scene from the front, and from the wrist."""
    settle_steps: Index | None = None
    """Steps without motion after a reset, so that objects come to rest."""
    settle_gripper: SettleGripper | None = None
    """Fingers while things settle. `open`: they get the command to open (0.039 m each);
    `half_open`: they get none and go half-way (0.020 m), as with RLinf's
    `reset_gripper_open: False`."""
    rotate_180: bool | None = None
    """Turn images by 180 degrees; MuJoCo's are upside down."""
    camera_size: Count | None = None
    """Side of the images in pixels. Resizing and cropping is the policy's business."""
    fixture_seed: FixtureSeed | None = None
    """Poses of cabinets, stoves and racks are not part of a start state but random. `episode`:
    drawn from the episode's seed; `zero`: from seed 0, always the same; `running`: as if the trials
    of a task were run one after the other from seed 0."""
    renderer: Literal["auto", "egl", "osmesa"] = "auto"
    """OpenGL implementation; `auto` takes EGL where a test image comes out, else OSMesa."""
    fast_rendering: bool = False
    """Draw without multisampling, reflections and shadow buffer: about a third of the time on a
    CPU, other pixels. Not for results that are compared with others."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        tasks = len(self.suites())
        for task in self.task_ids or ():
            if task >= tasks:
                raise ValueError(
                    f"task_ids has {task}, {self.task_suite_name} has tasks 0 to {tasks - 1}"
                )
        for name, values in (("task_ids", self.task_ids or ()), ("cameras", self.cameras)):
            if len(set(values)) < len(values):
                raise ValueError(f"{name} names something twice")
        return self

    def resolved(self) -> Protocol:
        """The protocol with the values given here in place of its own."""
        given = {
            name: value
            for name in (
                "settle_steps",
                "settle_gripper",
                "rotate_180",
                "camera_size",
                "fixture_seed",
            )
            if (value := getattr(self, name)) is not None
        }
        return replace(PROTOCOLS[self.protocol], **given)

    def suites(self) -> tuple[str, ...]:
        """Suite of the package that each task of `task_suite_name` belongs to."""
        names = TASKS if self.task_suite_name == "libero_130" else (self.task_suite_name,)
        return tuple(name for name in names for _ in range(TASKS[name]))

    def chosen(self) -> tuple[int, ...]:
        """Indices of the tasks that are used, in the suite."""
        return self.task_ids or tuple(range(len(self.suites())))

    def task_groups(self) -> tuple[str, ...]:
        suites = self.suites()
        return tuple(suites[task] for task in self.chosen())

    def episode_steps(self) -> tuple[int, ...]:
        limits = self.resolved().episode_steps
        return tuple(limits[suite] for suite in self.task_groups())

    def spaces(self) -> Spaces:
        size = self.resolved().camera_size
        views = tuple(VIEWS[camera] for camera in self.cameras)
        return Spaces("images", 8, (size, size), 7, len(views), views, STATE)

    def num_starts(self) -> int:
        return TRIALS

    def takes(self) -> ActionConvention:
        return ROBOSUITE_OSC_POSE

    def task_id(self) -> str:
        return self.task_suite_name

    def processes(self, most: int, on_accelerator: bool) -> int:
        return most

    def device_bytes(self, envs: int) -> int:
        """Assumed: the OpenGL context and the textures of one sub-process that draws on the GPU."""
        return 0 if self.renderer == "osmesa" else 300_000_000

    def process_bytes(self) -> int:
        """Measured with small textures: 1.2 GB with one scene, up to 0.3 GB for each further."""
        return 1_400_000_000


class LiberoParams(SuiteParams):
    """Tasks of LIBERO. A value of None is the protocol's."""

    task_suite_name: Suite
    """Suite; `libero_10` is also called Long, `libero_130` is all five one after the other."""

    def missing_assets(self) -> tuple[str, str] | None:
        task = f"env.*.init_params.task_suite_name = {self.task_suite_name}"
        return describe_missing(libero.GROUP, libero.assets(), task)


class LiberoProParams(SuiteParams):
    """Tasks of LIBERO-Pro. A value of None is the protocol's."""

    task_suite_name: PerturbedSuite
    """Suite of LIBERO, and what is changed in it: `swap` where things stand, `object` what they
    are, `lan` the words of the instruction, `task` what has to be done."""

    def base(self) -> str:
        """The suite of LIBERO that is changed; its step limits hold."""
        return self.task_suite_name.rpartition("_")[0]

    def suites(self) -> tuple[str, ...]:
        return (self.task_suite_name,) * TASKS[self.base()]

    def episode_steps(self) -> tuple[int, ...]:
        return (self.resolved().episode_steps[self.base()],) * len(self.chosen())


class LiberoPlusParams(SuiteParams):
    """Tasks of LIBERO-Plus, each with one start. A value of None is the protocol's."""

    task_suite_name: PlusSuite
    """Suite of LIBERO whose tasks are changed; its step limits hold."""
    category: Category
    """What is changed: the camera's place, the arm's joints at the start, the words of the
    instruction, light, table and walls (`background`), the picture itself (`noise`), or the layout:
    objects that were not there (`layout_added`), objects that stand elsewhere (`layout_moved`)."""
    leaked_names: bool = False
    """Let the end of a task's name into the instruction, as LIBERO-Plus's own code does in all
    categories but language: `... on the plate view 0 0 100 0 0 initstate 1`. Its published results
    were made so."""

    @model_validator(mode="after")
    def _pictures_can_be_distorted(self) -> Self:
        if self.category == "noise" and (size := self.resolved().camera_size) != 256:
            raise ValueError(
                f"camera_size is {size}; the distortions of category noise are made for 256"
            )
        return self

    def suites(self) -> tuple[str, ...]:
        return (self.task_suite_name,) * CHANGED_TASKS[self.task_suite_name][self.category]

    def num_starts(self) -> int:
        return 1

    def task_id(self) -> str:
        return f"{self.task_suite_name}_{self.category}"

    def without_effect(self) -> Iterator[tuple[str, str]]:
        if self.leaked_names and self.category == "language":
            yield "leaked_names", "category = language, whose instructions are in its files"

    def assets(self) -> tuple[str, list[Asset]]:
        """What `rlinf assets download` calls the assets, and these; LIBERO's where they serve."""
        own = libero_plus.assets()
        if self.category in NEED_OWN_ASSETS or not any(asset.missing() for asset in own):
            return libero_plus.GROUP, own
        return libero.GROUP, libero.assets()

    def needed_by(self) -> str:
        """What needs the assets, for a message."""
        return f"env.*.init_params.category = {self.category}"

    def missing_assets(self) -> tuple[str, str] | None:
        group, needed = self.assets()
        missing = describe_missing(group, needed, self.needed_by())
        if missing is None or group == libero.GROUP:
            return missing
        message, fix = missing
        others = ", ".join(one for one in get_args(Category) if one not in NEED_OWN_ASSETS)
        return message, (
            f"{fix}, or unpack assets.zip of the data set Sylvest/LIBERO-plus of Hugging Face and "
            f"export {libero_plus.VARIABLE}=ITS FOLDER assets; {others} run with LIBERO's "
            "(--benchmark libero_plus_offline)"
        )


assert set(get_args(Suite)) == {*TASKS, "libero_130"}
