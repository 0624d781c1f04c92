"""The state of a ManiSkill env in host memory, to go on in an env that is built anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mani_skill.utils import common
from torch import Tensor

if TYPE_CHECKING:
    from mani_skill.envs.sapien_env import BaseEnv

# What ManiSkill remembers of the first observation and state, for the shape alone.
_OF_THE_BUILD = ("_init_raw_obs", "_init_raw_state", "_last_obs")


@dataclass(frozen=True, slots=True)
class ManiskillSnapshot:
    """Bodies and joints, targets of the controllers, and what the task itself keeps in tensors."""

    state: dict[str, Any]  # as of `BaseEnv.get_state_dict`, on the CPU
    books: dict[str, Any]  # attributes of the env that are tensors, or dicts of tensors


def take(env: BaseEnv) -> ManiskillSnapshot:
    """The present state of all envs of a simulator."""
    books = {
        name: common.to_cpu_tensor(value)
        for name, value in vars(env).items()
        if name not in _OF_THE_BUILD and _is_book(value)
    }
    return ManiskillSnapshot(common.to_cpu_tensor(env.get_state_dict()), _copied(books))


def restore(env: BaseEnv, kept: ManiskillSnapshot) -> None:
    """Brings a newly built env into the state of `take`.

    Contacts and the solver's own memory are not part of it: what follows agrees with what would
    have followed up to rounding, not bit for bit.
    """
    state = common.to_tensor(kept.state, device=env.device)
    env.set_state_dict(state)
    env.agent.controller.reset()  # it looks where the arm is now
    env.agent.set_controller_state(state.get("controller", {}))
    for name, value in common.to_tensor(_copied(kept.books), device=env.device).items():
        setattr(env, name, value)


def _is_book(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(isinstance(part, Tensor) for part in value.values())
    return isinstance(value, Tensor)


def _copied(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _copied(value) for key, value in values.items()}
    return values.clone()
