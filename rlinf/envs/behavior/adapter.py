"""BEHAVIOR as a `Simulator`: B envs of an activity in one process, all moved by every step.

Where some envs begin anew or wait, the simulator moves the others all the same; their states are
kept before and put back after it. Pictures are drawn in `observe` alone, not inside a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult
from rlinf.envs.behavior import robot, settings
from rlinf.envs.behavior.data import Instances
from rlinf.envs.behavior.dialect import OmniGibsonDialect, part, plain
from rlinf.errors import EnvironmentFailure


class BehaviorEnv:
    """B envs of the R1 Pro.

    Args:
        dialect: how this OmniGibson is spoken to.
        instances: activity -> its instances.
        starts: activity -> the files that its starts are numbered by, equally many of each.
        instructions: activity -> instruction for the policy.
        views: names of the pictures of an observation, in their order.
        size: height and width of the pictures.
        state: names of slices of the proprioception.
        success_reward: added to the simulator's reward when the goal is first reached.
    """

    action_dim = robot.ACTION_DIM
    replayable = False  # the physics does not give equal bits twice

    def __init__(
        self,
        dialect: OmniGibsonDialect,
        instances: Mapping[str, Instances],
        starts: Mapping[str, Sequence[Path]],
        instructions: Mapping[str, str],
        views: Sequence[str],
        size: Sequence[int],
        state: Sequence[str],
        success_reward: float,
    ) -> None:
        self.num_envs = dialect.num_envs
        self.tasks: Sequence[str] = tuple(instances)
        self.num_trials = min(len(files) for files in starts.values())
        self._dialect, self._instances, self._starts = dialect, instances, starts
        self._texts = [instructions[name] for name in self.tasks]
        self._views, self._size, self._state = tuple(views), tuple(size), tuple(state)
        self._success_reward = success_reward
        self._task = np.zeros(self.num_envs, np.int64)
        self._begun = np.zeros(self.num_envs, bool)  # has a state that others must not disturb
        self._solved = np.zeros(self.num_envs, bool)  # once in the episode
        self._owed = np.zeros(self.num_envs)  # reward of steps that were taken back
        self._loaded: str | None = None
        self._load(0)

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        begins = set(ids.tolist())
        resting = [row for row in range(self.num_envs) if self._begun[row] and row not in begins]
        kept = {row: self._dialect.keep(row) for row in resting}
        for row, start in zip(ids.tolist(), starts, strict=True):
            self._load(start.task)
            self._dialect.begin(row, self._starts[self.tasks[start.task]][start.trial])
            self._task[row] = start.task
            kept[row] = self._dialect.keep(row)
        for row, state in kept.items():
            self._dialect.put_back(row, state)
        self._begun[ids], self._solved[ids], self._owed[ids] = True, False, 0.0

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        moves = actions.astype(np.float32)
        kept: dict[int, Any] = {}
        for row in np.flatnonzero(~active).tolist():
            moves[row] = robot.hold(self._dialect.proprio(row))
            kept[row] = self._dialect.keep(row)
        verdicts = self._dialect.step(moves)
        for row, state in kept.items():
            self._dialect.put_back(row, state)
        success = np.array([verdict.success for verdict in verdicts]) & active
        terminated = np.array([verdict.terminated for verdict in verdicts]) & active
        return StepResult(self._rewards(verdicts, success, active), terminated, success)

    def observe(self, ids: np.ndarray) -> Observation:
        rows, size = ids.tolist(), self._size if self._views else (0, 0)
        state = np.zeros((len(rows), sum(map(robot.size_of, self._state))), np.float32)
        images = np.zeros((len(rows), len(self._views), *size, 3), np.uint8)
        for place, row in enumerate(rows):
            state[place] = robot.state(self._dialect.proprio(row), self._state)
        for place, shown in enumerate(self._dialect.look(rows) if self._views and rows else ()):
            for view, name in enumerate(self._views):
                images[place, view] = self._picture(shown, name)
        return Observation(images, state, self.instructions(ids))

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        return tuple(self._texts[task] for task in self._task[ids])

    def frames(self, ids: np.ndarray) -> np.ndarray:
        return np.stack([self._picture(s, "main") for s in self._dialect.look(ids.tolist())])

    def offload(self) -> None:
        """The simulator keeps its memory: it cannot give it back and go on."""

    def onload(self) -> None:
        """There is nothing to bring back."""

    def close(self) -> None:
        """Nothing: OmniGibson's own does nothing or hangs. It ends with its process."""

    def _load(self, task: int) -> None:
        activity = self.tasks[task]
        if activity != self._loaded:
            assert self._loaded is None or self.num_envs == 1, "all envs run one activity"
            self._dialect.load(activity, self._instances[activity])
            self._loaded = activity

    def _rewards(
        self, verdicts: Sequence[Any], success: np.ndarray, active: np.ndarray
    ) -> np.ndarray:
        """[B] float32. The simulator counts from its last step, also where that was taken back."""
        change = self._owed + [verdict.reward for verdict in verdicts]
        self._owed = np.where(active, 0.0, change)
        first = success & ~self._solved
        self._solved |= success
        rewards: np.ndarray = np.where(active, change, 0.0) + self._success_reward * first
        return rewards.astype(np.float32)

    def _picture(self, shown: Mapping[str, Any], view: str) -> np.ndarray:
        """[H, W, 3] uint8; the fourth channel of the simulator's pictures is left out."""
        picture = plain(part(shown, settings.ROBOT, settings.CAMERAS[view], "rgb"))
        if picture.shape[:2] != self._size:
            raise EnvironmentFailure(
                f"the camera {settings.CAMERAS[view]} gives pictures of {picture.shape[:2]}, it "
                f"was set to {self._size}"
            )
        return picture[..., :3]
