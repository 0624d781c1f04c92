"""The task family as a ManiSkill env: one class, an environment id for each variant.

Every scene holds all objects and plates that an episode may need; those it does not need are parked
behind the camera. Things begin 3 to 13 cm above the table and fall onto it in the first step,
as in the published task: nothing is simulated inside a reset, so one env of a batch can be reset
without moving the others.

Letters: B envs of the simulator, K envs that are reset, H, W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sapien
import torch
from mani_skill.agents.robots.widowx.widowx import WidowX250S
from mani_skill.envs.sapien_env import BaseEnv
from mani_skill.envs.tasks.digital_twins.bridge_dataset_eval.base_env import (
    WidowX250SBridgeDatasetFlatTable,
)
from mani_skill.envs.utils.observations import parse_obs_mode_to_struct
from mani_skill.utils import sapien_utils
from mani_skill.utils.geometry.rotation_conversions import quaternion_to_matrix
from mani_skill.utils.registration import REGISTERED_ENVS, register_env
from mani_skill.utils.structs.actor import Actor
from mani_skill.utils.structs.pose import Pose
from mani_skill.utils.structs.types import SimConfig
from sapien.physx import PhysxMaterial
from torch import Tensor

from rlinf.assets import maniskill
from rlinf.envs.maniskill.put_on_plate import catalog, overlay
from rlinf.envs.maniskill.put_on_plate.cases import (
    JUMP_STEP,
    PREFIX,
    VARIANTS,
    Cases,
    CaseSet,
    ObjectSet,
)
from rlinf.envs.maniskill.put_on_plate.instructions import say

CAMERA = "3rd_view_camera"  # the robot's own, mounted on its base
MAX_STEPS = 80  # actions of an episode
STEADY_STEPS = 5  # actions in a row that the object is held before the hold counts as steady
CLOSE_M = 0.01  # added to the plate's radius when object and plate are compared in the plane
RESTS_M = 0.05  # most height between an object and the plate it rests on
TOUCH_N = 0.03  # force between object and plate above which they touch

_SEEN = parse_obs_mode_to_struct("rgb+segmentation")
_ROBOT = sapien.Pose([0.147, 0.028, 0.870], [0, 0, 0, 1])
_ROBOT_WHILE_BUILT = sapien.Pose([0.127, 0.060, 0.85], [0, 0, 0, 1])
_TABLE_MODEL = sapien.Pose(q=[0.707, 0.707, 0, 0])
_TABLE = sapien.Pose([2.0634, 2.8313, 0.0])


class PutOnPlateInScene(BaseEnv):
    """A WidowX on a table, one object to be moved, one plate to put it on.

    Args:
        env_id: of the variant.
        obj_set: `train`, `test` (unseen values of the variant's factor) or `all`.
        kwargs: as for every ManiSkill env.

    A reset takes the ids of the episodes as `options["episode_id"]` ([K] int64); without them it
    draws them from its seed.
    """

    SUPPORTED_OBS_MODES = ("rgb+segmentation",)
    SUPPORTED_REWARD_MODES = ("none",)
    agent: WidowX250S
    obs_mode_struct: Any  # ManiSkill has no type for it

    def __init__(self, env_id: str, obj_set: ObjectSet, **kwargs: Any) -> None:
        self.cases = CaseSet(env_id, obj_set)
        self.task_name = f"{env_id} ({obj_set})"
        self._catalog = catalog.read()
        super().__init__(robot_uids=WidowX250SBridgeDatasetFlatTable, **kwargs)

    @property
    def num_episodes(self) -> int:
        """Different starts."""
        return self.cases.total

    def get_language_instruction(self) -> list[str]:
        """The text of each env's present episode: [B]."""
        phrasings = self._extra if self.cases.variant.extra.phrasing else 0 * self._extra
        return [
            say(phrasing, self._catalog.objects[thing].name, self._catalog.plates[plate].name)
            for phrasing, thing, plate in zip(
                phrasings.tolist(), self._object.tolist(), self._plate.tolist(), strict=True
            )
        ]

    # --- building --------------------------------------------------------------------------------

    @property
    def _default_sim_config(self) -> SimConfig:
        return SimConfig(sim_freq=500, control_freq=5, spacing=20)

    def _load_agent(self, options: dict[str, Any]) -> None:
        super()._load_agent(options, _ROBOT_WHILE_BUILT)

    def _load_scene(self, options: dict[str, Any]) -> None:
        for robot in self.agent.robot._objs:
            sapien_utils.set_articulation_render_material(robot, specular=0.9, roughness=0.3)
        table = self.scene.create_actor_builder()
        model = maniskill.table_model()
        table.add_nonconvex_collision_from_file(str(model), pose=_TABLE_MODEL)
        table.add_visual_from_file(str(model), pose=_TABLE_MODEL)
        table.initial_pose = _TABLE
        table.build_static(name="arena")
        self._objects = {
            index: self._build(self._catalog.objects[index], [1.0, 0.3 * index, 1.0])
            for index in self.cases.objects
        }
        self._plates = {
            index: self._build(self._catalog.plates[index], [2.0, 0.3 * index, 1.0])
            for index in self.cases.plates
        }
        self._begin_books()

    def _build(self, model: catalog.Model, parked: list[float]) -> Actor:
        builder = self.scene.create_actor_builder()
        builder.add_multiple_convex_collisions_from_file(
            str(model.folder / "collision.obj"),
            material=PhysxMaterial(static_friction=1.0, dynamic_friction=1.0, restitution=0.0),
            density=model.density,
        )
        builder.add_visual_from_file(str(model.visual))
        builder.initial_pose = sapien.Pose(parked, [0, 0, 0, 1])
        return builder.build(name=model.folder.name)

    def _load_lighting(self, options: dict[str, Any]) -> None:
        self.scene.set_ambient_light([0.3, 0.3, 0.3])
        self.scene.add_directional_light([0, 0, -1], [2.2, 2.2, 2.2], shadow=False)
        self.scene.add_directional_light([-1, -0.5, -1], [0.7, 0.7, 0.7])
        self.scene.add_directional_light([1, 1, -1], [0.7, 0.7, 0.7])

    def _after_reconfigure(self, options: dict[str, Any]) -> None:
        kept = [*self.agent.robot.links, *self._objects.values(), *self._plates.values()]
        # [id] bool; a look-up takes far less time than `torch.isin`.
        self._is_kept = torch.zeros(1 << 16, dtype=torch.bool, device=self.device)
        self._is_kept[torch.cat([thing.per_scene_id for thing in kept]).long()] = True

    # --- episodes --------------------------------------------------------------------------------

    def _begin_books(self) -> None:
        """What is known of each env's present episode, on the simulator's device."""

        def numbers(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros((self.num_envs, *shape), dtype=dtype, device=self.device)

        self._object = numbers() + self.cases.objects.start
        self._plate = numbers() + self.cases.plates.start
        self._extra = numbers()
        self._background = numbers()
        self._object_size = numbers(3, dtype=torch.float32)  # box along the world's axes, m
        self._plate_size = numbers(3, dtype=torch.float32)
        self._third_pose = numbers(7, dtype=torch.float32)
        self._judged_step = numbers(dtype=torch.int32)  # that `evaluate` saw last
        self._held_for = numbers()  # actions in a row
        self._held_once = numbers(dtype=torch.bool)
        self._steady_once = numbers(dtype=torch.bool)

    def _initialize_episode(self, env_idx: Tensor, options: dict[str, Any]) -> None:
        if "episode_id" in options:
            ids = torch.as_tensor(options["episode_id"], dtype=torch.int64)
        else:
            ids = torch.randint(self.num_episodes, (len(env_idx),))
        cases = self.cases.decode(ids.cpu().numpy())
        self._place(cases)
        self.agent.robot.set_pose(_ROBOT)
        self.agent.reset(init_qpos=self._tensor(cases.joints))
        self._note(env_idx, cases)

    def _place(self, cases: Cases) -> None:
        """Puts the things of K cases in place, and all others where no camera looks."""
        upright = np.tile([1.0, 0.0, 0.0, 0.0], (len(cases.object), 1))
        for index, actor in self._objects.items():
            self._put(
                actor,
                (cases.object == index, cases.object_p, cases.object_q),
                (cases.other_object == index, cases.third_p, cases.object_q),
            )
        for index, actor in self._plates.items():
            self._put(
                actor,
                (cases.plate == index, cases.plate_p, upright),
                (cases.other_plate == index, cases.third_p, upright),
            )

    def _put(self, actor: Actor, *roles: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        """Poses an actor in K envs: of the first role it has there ([K] bool, p, q), or parked."""
        parked = actor.initial_pose.raw_pose[0].cpu().numpy()
        poses = np.tile(parked, (len(roles[0][0]), 1))
        used = np.zeros(len(poses), bool)
        for has, p, q in roles:
            poses = np.where(has[:, None], np.concatenate([p, q], axis=1), poses)
            used |= has
        actor.set_pose(Pose.create(self._tensor(poses)))
        if not self.gpu_sim_enabled:  # on a GPU this cannot be changed, and parked things fall
            actor._bodies[0].disable_gravity = not used[0]

    def _note(self, env_idx: Tensor, cases: Cases) -> None:
        for book, values in (
            (self._object, cases.object),
            (self._plate, cases.plate),
            (self._extra, cases.extra),
            (self._background, cases.background),
            (self._third_pose, np.concatenate([cases.third_p, cases.object_q], axis=1)),
        ):
            book[env_idx] = torch.as_tensor(values, device=self.device).to(book.dtype)
        sizes = np.stack([self._catalog.objects[index].size for index in cases.object])
        turned = quaternion_to_matrix(torch.as_tensor(cases.object_q)).abs().numpy()
        boxes = np.einsum("kij,kj->ki", turned, sizes)
        plates = np.stack([self._catalog.plates[index].size for index in cases.plate])
        self._object_size[env_idx] = self._tensor(boxes)
        self._plate_size[env_idx] = self._tensor(plates)
        for book in (self._judged_step, self._held_for, self._held_once, self._steady_once):
            book[env_idx] = 0

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.device)

    # --- steps -----------------------------------------------------------------------------------

    def evaluate(self) -> Mapping[str, Tensor]:
        """What holds after an action, each [B] bool.

        `success`: the object rests on the plate and touches it, whether held or not.
        `is_src_obj_grasped`, `consecutive_grasp`: it was held, and held for 5 actions in a row, at
        some time of the episode.
        """
        held = self._per_object(self.agent.is_grasping)
        # ManiSkill evaluates whenever anything is observed or reset; a step counts only once.
        new = self._elapsed_steps != self._judged_step
        self._judged_step = self._elapsed_steps.clone()
        self._held_for = torch.where(new, torch.where(held, self._held_for + 1, 0), self._held_for)
        self._held_once = self._held_once | held
        self._steady_once = self._steady_once | (self._held_for >= STEADY_STEPS)
        success = self._on_plate()
        return {
            "is_src_obj_grasped": self._held_once.clone(),
            "consecutive_grasp": self._steady_once.clone(),
            "src_on_target": success,
            "success": success.clone(),
        }

    def _on_plate(self) -> Tensor:
        """[B] bool: near enough in the plane, low enough above it, and in contact."""
        offset = self._per_object(lambda actor: actor.pose.p) - self._per_plate()
        reach = self._plate_size.amax(dim=1) / 2 + CLOSE_M
        near = torch.linalg.norm(offset[:, :2], dim=1) <= reach
        gap = offset[:, 2] - self._plate_size[:, 2] / 2 - self._object_size[:, 2] / 2
        return near & (offset[:, 2] > 0) & (gap <= RESTS_M) & (self._touch() > TOUCH_N)

    def _touch(self) -> Tensor:
        """[B] newtons between object and plate, in the last physics step."""
        forces = torch.zeros(self.num_envs, device=self.device)
        pairs = torch.unique(torch.stack([self._object, self._plate], dim=1), dim=0)
        for thing, plate in pairs.tolist():
            rows = (self._object == thing) & (self._plate == plate)
            force = self.scene.get_pairwise_contact_forces(
                self._objects[thing], self._plates[plate]
            )
            forces[rows] = torch.linalg.norm(force, dim=1)[rows]
        return forces

    def _per_object(self, ask: Any) -> Tensor:
        """`ask(actor)` for the object of each env: [B, ...]. Contacts of the others are costly."""
        return self._of(ask, self._objects, self._object)

    def _per_plate(self) -> Tensor:
        """[B, 3] position of each env's plate."""
        return self._of(lambda actor: actor.pose.p, self._plates, self._plate)

    def _of(self, ask: Any, actors: Mapping[int, Actor], chosen: Tensor) -> Tensor:
        answers: Tensor | None = None
        for index in torch.unique(chosen).tolist():
            answer: Tensor = ask(actors[index])
            if answers is None:
                answers = answer.clone()
            rows = chosen == index
            answers[rows] = answer[rows]
        assert answers is not None
        return answers

    def _after_control_step(self) -> None:
        """Where the variant wants it, the object jumps to the third place."""
        if not self.cases.variant.jumps:
            return
        due = self._elapsed_steps == JUMP_STEP - 1  # the present action is counted later
        if not due.any():
            return
        if self.gpu_sim_enabled:
            self.scene._gpu_fetch_all()
        for index in torch.unique(self._object[due]).tolist():
            rows = due & (self._object == index)
            self.scene._reset_mask = rows  # poses and velocities are written for these envs only
            self._objects[index].set_pose(Pose.create(self._third_pose[rows]))
            still = torch.zeros(3, device=self.device)
            self._objects[index].set_linear_velocity(still)
            self._objects[index].set_angular_velocity(still)
        self.scene._reset_mask = torch.ones_like(due)
        if self.gpu_sim_enabled:
            self.scene._gpu_apply_all()

    # --- pictures --------------------------------------------------------------------------------

    def _get_obs_sensor_data(self, apply_texture_transforms: bool = True) -> dict[str, Any]:
        data: dict[str, Any] = super()._get_obs_sensor_data(apply_texture_transforms)
        camera = data[CAMERA]
        kept = self._is_kept[camera["segmentation"][..., 0].long()]
        camera["rgb"] = torch.stack(
            [self._compose(env, camera["rgb"][env], kept[env]) for env in range(self.num_envs)]
        )
        return data

    def _compose(self, env: int, rendered: Tensor, kept: Tensor) -> Tensor:
        """The picture of one env: [H, W, 3] uint8."""
        variant = self.cases.variant
        table = self._catalog.tables[int(self._background[env])]
        frame = overlay.paste(rendered, kept, self._photo(table.photo))
        texture = self._catalog.tables[int(self._extra[env])] if variant.extra.texture else None
        weight = variant.texture_weight * texture.mix if texture is not None else 0.0
        if texture is None or weight == 0:
            return frame
        disturb = overlay.texture_over_all if variant.whole_frame else overlay.texture_on_things
        return disturb(frame, kept, self._photo(texture.texture), weight)

    def _photo(self, file: Any) -> Tensor:
        return torch.from_numpy(catalog.picture(file).copy()).to(self.device)

    def render_rgb_array(self, camera_name: str | None = None) -> Tensor:
        """[B, H / 2, W / 2, 3] uint8: what the policy sees, at half the size."""
        asked = self.obs_mode_struct
        self.obs_mode_struct = _SEEN
        frames = self._get_obs_sensor_data()[CAMERA]["rgb"].float()
        self.obs_mode_struct = asked
        halves = frames.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).mean(dim=(2, 4))
        return halves.to(torch.uint8)


def register() -> None:
    """Makes every variant known to ManiSkill, under its published id."""
    for name in VARIANTS:
        env_id = PREFIX + name
        if env_id in REGISTERED_ENVS:
            continue
        register_env(
            env_id,
            max_episode_steps=MAX_STEPS,
            asset_download_ids=["bridge_v2_real2sim"],
            env_id=env_id,
        )(PutOnPlateInScene)
