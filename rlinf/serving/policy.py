"""A saved policy, and how a client's observation becomes its own and actions become theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rlinf.config.base import Spaces
from rlinf.config.schema import Config
from rlinf.data.conventions import Conversion, conversion
from rlinf.data.random import Noise
from rlinf.data.types import Observation
from rlinf.errors import OWN_ERRORS, UserError
from rlinf.models.base import Policy, Sampling
from rlinf.models.loading import sampling_of, start_policy
from rlinf.serving.codec import BadMessage
from rlinf.serving.specs import action_spec, observation_params, observation_spec

MOST_LETTERS = 4096  # of an instruction
_OTHER_NAMES = {"main": ("image", "agentview"), "wrist": ("wrist_image",)}


@dataclass(frozen=True, slots=True)
class Expected:
    """What an observation has to have, by name."""

    views: tuple[str, ...]  # pictures, in the order of `Observation.images`
    image_size: tuple[int, int] | None  # height, width in pixels; None: any, equal for all views
    state: tuple[tuple[str, int], ...]  # slices of the state and their sizes, in order
    takes_state: bool  # the policy reads the state
    cameras: Mapping[str, str]  # view -> what else clients call its picture

    @staticmethod
    def of(model: Spaces, shown: Spaces, cameras: Mapping[str, str]) -> Expected:
        """What a policy reads of an environment; both say what they know.

        Args:
            cameras: view -> what else clients call its picture.

        Raises:
            UserError: the policy reads no such view.
        """
        pictures = shown.shows == "images"
        count = shown.num_views or model.num_views or 1
        named = shown.views or model.views or ("main", "wrist", "second_wrist")[:count]
        size = shown.obs_dim or model.obs_dim
        state = shown.state or model.state or ((("state", size),) if size else ())
        views = tuple(named) if pictures else ()
        if unknown := [view for view in cameras if view not in views]:
            raise UserError(
                f"--camera {unknown[0]}={cameras[unknown[0]]}: the policy reads "
                + (f"the views {', '.join(views)}" if views else "no pictures"),
                "name one of them" if views else "leave it out",
            )
        return Expected(
            views=views,
            image_size=(shown.image_size or model.image_size) if pictures else None,
            state=state,
            takes_state=not pictures or bool(model.state or model.obs_dim),
            cameras=cameras,
        )

    def observation(self, given: Mapping[str, Any]) -> Observation:
        """One row from a client's map; see the guide for its names.

        Raises:
            BadMessage: something is missing, or of the wrong kind, shape or range.
        """
        pictures = [self._picture(given, view) for view in self.views]
        if len({picture.shape for picture in pictures}) > 1:
            raise BadMessage("the pictures of an observation have to have one size")
        images = np.stack(pictures)[None] if pictures else np.zeros((1, 0, 0, 0, 3), np.uint8)
        state = self._state(given) if self.takes_state else np.zeros(0, np.float32)
        prompt = given.get("prompt", "" if not self.views else None)
        if not isinstance(prompt, str) or len(prompt) > MOST_LETTERS:
            raise BadMessage(f"prompt has to be a text of at most {MOST_LETTERS} letters")
        return Observation(images, state[None], (prompt,))

    def _picture(self, given: Mapping[str, Any], view: str) -> np.ndarray:
        named = (self.cameras[view],) if view in self.cameras else ()
        names = (*named, *_OTHER_NAMES.get(view, ()), view, f"{view}_image")
        return _picture(given, [f"observation/{name}" for name in names], self.image_size)

    def _state(self, given: Mapping[str, Any]) -> np.ndarray:
        """[S] float32: whole, or its slices by name."""
        size = sum(length for _, length in self.state)
        if "observation/state" in given:
            return _numbers(given["observation/state"], "observation/state", size)
        names = [f"observation/{key_of(name)}" for name, _ in self.state]
        missing = [name for name in names if name not in given]
        if missing:
            raise BadMessage(
                f"observation/state ({size} numbers) is missing, or {', '.join(missing)}; there is "
                f"{_listed(given)}"
            )
        lengths = [length for _, length in self.state]
        parts = [_numbers(given[n], n, k) for n, k in zip(names, lengths, strict=True)]
        return np.concatenate(parts)


def key_of(name: str) -> str:
    """The name of a slice as a key: `end-effector position` is `end_effector_position`."""
    return name.replace(" ", "_").replace("-", "_")


def _listed(given: Mapping[str, Any]) -> str:
    return ", ".join(sorted(str(key)[:40] for key in list(given)[:16])) or "nothing"


def _picture(
    given: Mapping[str, Any], names: Sequence[str], size: tuple[int, int] | None
) -> np.ndarray:
    """[H, W, 3] uint8, under the first of its names that is there."""
    found = next((given[name] for name in names if name in given), None)
    if found is None:
        raise BadMessage(f"{names[0]} is missing; there is {_listed(given)}")
    if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or found.ndim != 3:
        raise BadMessage(f"{names[0]} has to be an array [H, W, 3] of uint8")
    if found.shape[2] != 3 and found.shape[0] == 3:
        found = found.transpose(1, 2, 0)
    if found.shape[2] != 3 or 0 in found.shape or max(found.shape) > 2048:
        raise BadMessage(f"{names[0]} is {list(found.shape)}, it has to be [H, W, 3]")
    if size is not None and found.shape[:2] != tuple(size):
        raise BadMessage(
            f"{names[0]} is {found.shape[0]} x {found.shape[1]}: the policy was trained on "
            f"pictures of {size[0]} x {size[1]}; pictures are not resized here"
        )
    return found


def _numbers(value: Any, name: str, size: int) -> np.ndarray:
    try:
        array = np.atleast_1d(np.asarray(value)).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise BadMessage(f"{name} has to be numbers") from error
    if array.ndim != 1 or (size and len(array) != size):
        raise BadMessage(f"{name} is {list(array.shape)}, it has to be {size} finite numbers")
    if not np.isfinite(array).all():
        raise BadMessage(f"{name} has numbers that are not finite")
    return array


class ServedPolicy:
    """Answers observations with actions in the units of the environment it was trained for.

    It is built, and used, in one thread.
    """

    def __init__(
        self,
        config: Config,
        source: Path,
        sample: bool,
        device: Any,
        cameras: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Loads the policy.

        Args:
            config: with its weights chosen.
            source: folder it is from.
            sample: draw actions as in training.
            device: torch device.
            cameras: see `Expected.of`.
        """
        env, model = config.env.eval, config.actor.model
        self.source, self.config = source, config
        self.expected = Expected.of(model.spaces(), env.init_params.spaces(), cameras)
        self.takes = env.init_params.takes() or model.emits()
        self.conversion: Conversion = conversion(model.emits(), env.init_params.takes())
        self.sampling: Sampling = sampling_of(
            config.algorithm.sampling_params, "train" if sample else "eval"
        )
        self.policy: Policy = start_policy(config)
        self.policy.eval()
        self.policy.to(device)

    def act(
        self, observations: Sequence[Observation], keys: Sequence[int]
    ) -> list[np.ndarray | Exception]:
        """A chunk [C, A] float32 for each observation of one row, or what went wrong with it.

        Args:
            keys: of the noise of each row.
        """
        try:
            chunk = self.policy.act(
                Observation.concatenate(observations),
                self.sampling,
                Noise(np.array(keys, np.uint64)),
            )
        except (*OWN_ERRORS, RuntimeError, ValueError) as error:
            if len(observations) == 1:
                return [error]
            return [
                answer
                for observation, key in zip(observations, keys, strict=True)
                for answer in self.act([observation], [key])
            ]
        return [
            self.conversion(row) if np.isfinite(row).all() else ValueError("actions not finite")
            for row in chunk.actions
        ]

    def specs(self) -> dict[str, Any]:
        """What vla-eval's client has to know, in its words."""
        views, state = self.expected.views, self.expected.state if self.expected.takes_state else ()
        return {
            "observation_params": observation_params(views, state),
            "action_spec": action_spec(self.takes, self.config.actor.model.action_dim),
            "observation_spec": observation_spec(views, state, self.expected.cameras),
        }

    def metadata(self) -> dict[str, Any]:
        """What clients have to know, as plain values."""
        env, model, want = self.config.env.eval, self.config.actor.model, self.expected
        dimensions = self.takes.dimensions if self.takes is not None else ()
        return {
            "server": "rlinf",
            "policy": self.source.name,
            "model_type": model.model_type,
            "task": env.init_params.task_id(),
            "views": list(want.views),
            "cameras": dict(want.cameras),
            "image_size": list(want.image_size) if want.image_size is not None else None,
            "state": [[key_of(name), size] for name, size in want.state if want.takes_state],
            "action_names": [d.name for d in dimensions],
            "action_meaning": [str(d) for d in dimensions],
            "action_dim": model.action_dim,
            "action_horizon": model.num_action_chunks,
            "control_hz": env.init_params.steps_per_second(),
            "sampled": not self.sampling.greedy,
        }
