"""End-effector control of one arm, without tensors of one row.

ManiSkill computes an arm's target pose with tensors over all scenes of an env. An env on a CPU has
one scene, and some four hundred tensor operations of one row take several times as long as the
physics of the step. Here are the same operations in the same order, each rounded to float32. What
PyTorch rounds in its own way (sine, cosine, norm, product of matrices) is left to it. On Intel's
processors the joints get the same targets to the last bit; on AMD's, PyTorch rounds some tensors of
one row otherwise, and velocities differ by up to 5e-4 after 15 steps.

A quaternion is (w, x, y, z); a pose leads from a body's frame to the world or to the arm's root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import sapien
import torch
from mani_skill.agents.controllers import PDEEPoseController
from mani_skill.agents.controllers.base_controller import DictController
from mani_skill.utils.structs import Pose

if TYPE_CHECKING:
    from mani_skill.agents.controllers.base_controller import BaseController
    from mani_skill.envs.sapien_env import BaseEnv

Vector = tuple[np.float32, np.float32, np.float32]
Quaternion = tuple[np.float32, np.float32, np.float32, np.float32]

_ZERO, _ONE, _TWO, _TENTH = (np.float32(value) for value in (0, 1, 2, 0.1))


def use_arm_control(env: BaseEnv) -> int:
    """Makes the arms of a CPU env move by this file; returns how many did not before.

    Like the swap of visuals, it holds until ManiSkill builds the scene again.
    """
    changed = 0
    for controller in _parts(env.agent.controller):
        if type(controller) is PDEEPoseController and controller.config.use_delta:
            controller.__class__ = ArmControl
            changed += 1
    return changed


def _parts(controller: BaseController) -> list[BaseController]:
    combined = isinstance(controller, DictController)
    return list(controller.controllers.values()) if combined else [controller]


class _Placed(NamedTuple):
    """A position in metres and an orientation."""

    position: Vector
    turned: Quaternion


class ArmControl(PDEEPoseController):
    """ManiSkill's `pd_ee_delta_pose` and its relatives, for an env of one scene on a CPU."""

    def set_action(self, action: torch.Tensor) -> None:
        """Takes [1, 6]: three translations and three rotations, in [-1, 1] where normalised."""
        moved, rotation = self._scaled(action)
        self._step = 0
        self._start_qpos = self.qpos
        before = self._target() if self.config.use_target else self._hand()
        target = self._moved(before, moved, _from_euler(rotation))
        self._target_pose = Pose(raw_pose=_row(*target.position, *target.turned))
        joints = self._joints_for(target)
        self._target_qpos = self._start_qpos if joints is None else _row(*joints)
        if self.config.interpolate:
            self._step_size = (self._target_qpos - self._start_qpos) / self._sim_steps
        else:
            self.set_drive_targets(self._target_qpos)

    def set_drive_targets(self, targets: torch.Tensor) -> None:
        """Targets [1, joints] of the motors, radians."""
        for joint, target in zip(self.joints, targets[0].numpy(), strict=True):
            joint._objs[0].drive_target = target[None]

    def _scaled(self, action: torch.Tensor) -> tuple[Vector, torch.Tensor]:
        """Metres, and radians [3]."""
        if not self._normalize_action:
            return tuple(action[0, :3].numpy()), action[0, 3:]
        low, high = self.action_space_low[:3].numpy(), self.action_space_high[:3].numpy()
        half = np.float32(0.5)
        unit = np.clip(action[0, :3].numpy(), -_ONE, _ONE)
        moved = half * (high + low) + half * (high - low) * unit
        rotation = action[:, 3:]
        norm = torch.linalg.norm(rotation, axis=1)
        if norm > 1:
            rotation = rotation * (1 / norm)
        return tuple(moved), rotation[0] * self.config.rot_lower

    def _hand(self) -> _Placed:
        """Where the hand is, as the arm's root sees it."""
        root = _placed(self.root_link._objs[0].entity_pose)
        hand = _placed(self.ee_link._objs[0].entity_pose)
        back = _conjugate(root.turned)
        origin = _rotate(back, _negative(root.position))
        return _Placed(
            _sum(origin, _rotate(back, hand.position)),
            _standard(_product(back, hand.turned)),
        )

    def _target(self) -> _Placed:
        """Where the hand was to be."""
        px, py, pz, *turned = self._target_pose.raw_pose[0].numpy()
        return _Placed((px, py, pz), tuple(turned))

    def _moved(self, before: _Placed, moved: Vector, turn: Quaternion) -> _Placed:
        """A pose after a translation and a rotation in the frames of the configuration."""
        translation, rotation = self.config.frame.split(":")
        first, second = (turn, before.turned)
        if rotation == "body_aligned_body_rotation":
            first, second = (before.turned, turn)
        if translation == "body_translation":
            moved = _rotate(before.turned, moved)
        return _Placed(_sum(before.position, moved), _standard(_product(first, second)))

    def _joints_for(self, target: _Placed) -> np.ndarray | None:
        """Angles [joints] that bring the hand there; None where none are found."""
        solver = self.kinematics
        now = self.articulation._objs[0].qpos[solver.pmodel_active_joint_indices]
        found, success, _ = solver.pmodel.compute_inverse_kinematics(
            solver.end_link_idx,
            sapien.Pose(np.array(target.position), np.array(target.turned)),
            initial_qpos=now,
            active_qmask=solver.qmask,
            max_iterations=100,
        )
        return found[solver.pmodel_controlled_joint_indices] if success else None


# --- rotations, as in mani_skill.utils.geometry.rotation_conversions -----------------------------


def _product(a: Quaternion, b: Quaternion) -> Quaternion:
    aw, ax, ay, az = a
    bw, bx, by, bz = b
    return (
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    )


def _rotate(turn: Quaternion, vector: Vector) -> Vector:
    _, x, y, z = _product(_product(turn, (_ZERO, *vector)), _conjugate(turn))
    return x, y, z


def _conjugate(turn: Quaternion) -> Quaternion:
    w, x, y, z = turn
    return w, -x, -y, -z


def _standard(turn: Quaternion) -> Quaternion:
    """Of the two quaternions of a rotation the one whose real part is not negative."""
    w, x, y, z = turn
    return (-w, -x, -y, -z) if w < 0 else turn


def _from_euler(angles: torch.Tensor) -> Quaternion:
    """The rotation about x, then y, then z of the turned frame, by [3] radians."""
    (cx, cy, cz), (sx, sy, sz) = torch.cos(angles).numpy(), torch.sin(angles).numpy()
    o, i = _ZERO, _ONE
    factors = np.array(
        (
            ((i, o, o), (o, cx, -sx), (o, sx, cx)),
            ((cy, o, sy), (o, i, o), (-sy, o, cy)),
            ((cz, -sz, o), (sz, cz, o), (o, o, i)),
        ),
    )
    x, y, z = torch.from_numpy(factors).unsqueeze(1)
    return _from_matrix(torch.matmul(torch.matmul(x, y), z)[0].numpy())


def _from_matrix(matrix: np.ndarray) -> Quaternion:
    """From a rotation matrix [3, 3], by way of the quaternion's largest component."""
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.ravel()
    squares = (
        _ONE + m00 + m11 + m22,
        _ONE + m00 - m11 - m22,
        _ONE - m00 + m11 - m22,
        _ONE - m00 - m11 + m22,
    )
    doubled = [np.sqrt(square) if square > 0 else _ZERO for square in squares]
    w, x, y, z = (value * value for value in doubled)
    largest = int(np.argmax(doubled))
    row = (
        (w, m21 - m12, m02 - m20, m10 - m01),
        (m21 - m12, x, m10 + m01, m02 + m20),
        (m02 - m20, m10 + m01, y, m12 + m21),
        (m10 - m01, m20 + m02, m21 + m12, z),
    )[largest]
    scale = _TWO * max(doubled[largest], _TENTH)
    w, x, y, z = (part / scale for part in row)
    return _standard((w, x, y, z))


def _sum(a: Vector, b: Vector) -> Vector:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _negative(vector: Vector) -> Vector:
    x, y, z = vector
    return -x, -y, -z


def _placed(pose: sapien.Pose) -> _Placed:
    return _Placed(tuple(pose.p), tuple(pose.q))


def _row(*values: np.floating) -> torch.Tensor:
    """[1, n] float32."""
    return torch.from_numpy(np.array([values], np.float32))
