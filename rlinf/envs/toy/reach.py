"""`toy_reach`: move a point to a goal in the unit cube.

The point starts at the origin; an action of 1 moves it 0.1 along its axis. The task is solved, and
terminates, when the point is close to the goal. State and physics are arrays over all envs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from rlinf.data.random import Noise, derive
from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult

STEP = 0.1  # distance of an action of 1
RADIUS = 0.25  # distance to the goal that counts as success
_INSTRUCTION = "move the point to the goal"
_FRAME_SIZE = 64  # pixels of a picture for people


class ToyReach:
    """B points and their goals.

    Args:
        num_envs: B.
        obs_dim: S; the state vector holds goal - point, point, goal and the last action, cut or
            filled with zeros to this size.
        action_dim: A, the dimensions of the space.
        reward: `dense` is 1 - tanh(distance), and 1 when solved; `sparse` is 1 when solved, else 0.
        image_size: height and width of an image of the first two dimensions; 0 for no image.
    """

    replayable = True

    def __init__(
        self,
        num_envs: int,
        obs_dim: int = 42,
        action_dim: int = 8,
        reward: Literal["dense", "sparse"] = "dense",
        image_size: int = 0,
    ) -> None:
        self.num_envs = num_envs
        self.action_dim = action_dim
        self.tasks: Sequence[str] = (_INSTRUCTION,)
        self.num_trials = 0
        self._obs_dim = obs_dim
        self._dense = reward == "dense"
        self._image_size = image_size
        self._point = np.zeros((num_envs, action_dim), np.float32)
        self._goal = np.zeros((num_envs, action_dim), np.float32)
        self._last_action = np.zeros((num_envs, action_dim), np.float32)

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        seeds = np.array([start.seed for start in starts])
        self._goal[ids] = Noise(derive(seeds)).uniform(self.action_dim) * 2 - 1
        self._point[ids] = 0
        self._last_action[ids] = 0

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        actions = np.where(active[:, None], np.clip(actions, -1, 1), 0)
        self._point = np.clip(self._point + STEP * actions, -1, 1).astype(np.float32)
        self._last_action = np.where(active[:, None], actions, self._last_action)
        distance = np.linalg.norm(self._goal - self._point, axis=1)
        success = active & (distance < RADIUS)
        rewards = np.where(success, 1.0, 1 - np.tanh(distance) if self._dense else 0.0)
        return StepResult(
            rewards=np.where(active, rewards, 0).astype(np.float32),
            terminated=success,
            success=success.copy(),
        )

    def observe(self, ids: np.ndarray) -> Observation:
        point, goal = self._point[ids], self._goal[ids]
        parts = np.concatenate([goal - point, point, goal, self._last_action[ids]], axis=1)
        state = np.zeros((len(ids), self._obs_dim), np.float32)
        size = min(self._obs_dim, parts.shape[1])
        state[:, :size] = parts[:, :size]
        if self._image_size:
            images = self._draw(ids, self._image_size)[:, None]
        else:
            images = np.zeros((len(ids), 0, 0, 0, 3), np.uint8)
        return Observation(images, state, self.instructions(ids))

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        return (_INSTRUCTION,) * len(ids)

    def frames(self, ids: np.ndarray) -> np.ndarray:
        return self._draw(ids, _FRAME_SIZE)

    def offload(self) -> None:
        """There is nothing on an accelerator."""

    def onload(self) -> None:
        """There is nothing to bring back."""

    def close(self) -> None:
        """Nothing to free."""

    def _draw(self, ids: np.ndarray, size: int) -> np.ndarray:
        """[K, size, size, 3] uint8: the goal in green, the point in red, black around."""
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        pixels = np.stack(np.meshgrid(axis, -axis), axis=-1)  # [size, size, 2] x right, y up
        image = np.zeros((len(ids), size, size, 3), np.uint8)
        for channel, place in ((1, self._goal), (0, self._point)):
            away = np.abs(pixels - place[ids][:, None, None, :2]).max(axis=-1)
            image[..., channel] = np.where(away < 0.15, 255, 0)
        return image
