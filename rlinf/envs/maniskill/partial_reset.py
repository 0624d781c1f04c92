"""Resets of some envs of a batch that leave the others alone, and of several stages in one process.

`BaseEnv.reset` sets its mask of the envs that are reset to all ones before it resets the
controllers. Those that move relative to their last target then take where the arm is now for that
target, in every env of the batch: an arm that follows its target with a lag drops back by the lag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import torch
from mani_skill.agents.controllers.base_controller import BaseController, DictController
from mani_skill.utils.structs import Pose
from torch import Tensor

if TYPE_CHECKING:
    from mani_skill.envs.sapien_env import BaseEnv

GLOBAL_RANDOM = RLock()
"""Held while ManiSkill forks and seeds torch's global generator: the stages of an env worker are
threads, and one would draw from what another has seeded."""


def reset_rows(env: BaseEnv, rows: Tensor, seeds: Sequence[int], options: dict[str, Any]) -> Any:
    """Resets some envs of a batch.

    Args:
        rows: [K] int64.
        seeds: of all envs; those of the others are not used.

    Returns:
        What ManiSkill says about the state of all envs.
    """
    with GLOBAL_RANDOM, targets_kept(env.agent.controller, rows, env.num_envs):
        _, info = env.reset(seed=list(seeds), options={"env_idx": rows, **options})
    return info


@contextmanager
def targets_kept(
    controller: BaseController | Mapping[str, BaseController], rows: Tensor, num_envs: int
) -> Iterator[None]:
    """Inside it a controller may be reset; what it keeps for envs other than `rows` stays."""
    parts = list(_parts(controller))
    before = [(part, name, _copy(value)) for part, name, value in _kept(parts, num_envs)]
    yield
    reset = torch.zeros(num_envs, dtype=torch.bool, device=rows.device)
    reset[rows] = True
    for part, name, old in before:
        new = getattr(part, name)
        if isinstance(new, Pose):
            setattr(part, name, Pose.create(_merged(reset, new.raw_pose, old)))
        else:
            setattr(part, name, _merged(reset, new, old))


def _parts(
    controller: BaseController | Mapping[str, BaseController],
) -> Iterator[BaseController]:
    """The controllers of single parts of a robot: of the arm, of the gripper."""
    if isinstance(controller, DictController):
        controller = controller.controllers
    if isinstance(controller, Mapping):
        for part in controller.values():
            yield from _parts(part)
    else:
        yield controller


def _kept(
    parts: Sequence[BaseController], num_envs: int
) -> Iterator[tuple[BaseController, str, Tensor | Pose]]:
    """What controllers keep for each env between actions: tensors [B, ...] and poses of B."""
    for part in parts:
        for name, value in vars(part).items():
            if isinstance(value, Tensor | Pose) and value.shape[:1] == (num_envs,):
                yield part, name, value


def _copy(value: Tensor | Pose) -> Tensor:
    return (value.raw_pose if isinstance(value, Pose) else value).clone()


def _merged(reset: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(reset.view(-1, *[1] * (new.ndim - 1)), new, old)
