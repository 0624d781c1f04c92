"""IsaacLab and mjlab as a `Simulator`: all B envs are stepped at once, in one process.

The simulator's own resets are taken out. Its termination terms become observation terms
(`Dialect.judge`), which say the same but reset nothing; so an ended env shows its last state until
our `reset`, cameras included, and no row of a chunk drives an episode that `reset` did not begin.

Nothing is drawn in a step: cameras are read in `observe` alone. Envs that are not to move get an
action of zeros, and are put back where they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult
from rlinf.envs.isaaclab.dialect import JUDGED, Dialect
from rlinf.envs.isaaclab.rotations import axis_angle
from rlinf.envs.isaaclab.task import Reward, Task
from rlinf.errors import EnvironmentFailure, UserError


class BatchedEnv:
    """B envs of one task.

    Args:
        dialect: how this simulator is spoken to; it has made the env.
        task: what is what in it.
        views: names of the pictures of an observation, in their order.
        reward: see `task.REWARDS`.
        instruction: for the policy.

    Raises:
        UserError: the task is described with a name that the simulator's task does not have.
    """

    num_trials = 0  # any seed is a start of its own
    replayable = False  # solvers keep what they ended with as their next first guess

    def __init__(
        self, dialect: Dialect, task: Task, views: Sequence[str], reward: Reward, instruction: str
    ) -> None:
        self._dialect, self._task, self._reward = dialect, task, reward
        self._views = tuple(task.views[view] for view in views)
        self.num_envs, self.quaternion = dialect.num_envs, dialect.quaternion
        self.action_dim = dialect.action_dim
        if self.action_dim != len(task.actions.dimensions):
            raise EnvironmentFailure(
                f"the simulator takes {self.action_dim} numbers in an action, the task is described"
                f" with {len(task.actions.dimensions)}"
            )
        self.tasks: Sequence[str] = (instruction,)
        parts = [f"subtask/{term}" for term in task.subtasks] if reward == "subtasks" else []
        self._worth = ("success", *parts)
        self._done = np.zeros((self.num_envs, len(self._worth)), bool)  # once in the episode
        # The first reset of some simulators gives other speeds than every later one.
        self._shown = dialect.reset_all(seed=0)
        self._shown = dialect.reset_all(seed=0)
        self._compare_names()

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        if len(ids):
            self._shown = self._dialect.reset(ids, [start.seed for start in starts])
        self._done[ids] = False

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        waiting = np.flatnonzero(~active)
        before = self._dialect.keep() if len(waiting) else None
        moves = np.where(active[:, None], actions, 0).astype(np.float32)
        self._shown, rewards = self._dialect.step(moves)
        judged = {name: values & active for name, values in self._judged().items()}
        if before is not None:
            self._shown = self._dialect.put_back(before, waiting)
        success = judged["success"]
        return StepResult(
            rewards=self._rewards(judged, np.where(active, rewards, 0)).astype(np.float32),
            terminated=np.logical_or.reduce(
                [values for name, values in judged.items() if not name.startswith("subtask/")]
            ),
            success=success,
        )

    def observe(self, ids: np.ndarray) -> Observation:
        images = np.zeros((len(ids), 0, 0, 0, 3), np.uint8)
        if self._views:
            pictures = [self._dialect.pictures(camera)[ids] for camera in self._views]
            images = np.stack(pictures, axis=1)
        return Observation(images, self._state()[ids], self.instructions(ids))

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        return (self.tasks[0],) * len(ids)

    def frames(self, ids: np.ndarray) -> np.ndarray:
        return self._dialect.pictures(next(iter(self._task.views.values())))[ids]

    def term(self, name: str) -> np.ndarray:
        """[B, ...] an observation term `group/term` as of now; for experts."""
        return self._dialect.numpy(self._term(name))

    def offload(self) -> None:
        """The simulator keeps its memory: none of the three can give it back and go on."""

    def onload(self) -> None:
        """There is nothing to bring back."""

    def close(self) -> None:
        self._dialect.close()

    def _compare_names(self) -> None:
        """Now, and not when a policy first looks: what is described wrongly stays wrong."""
        there = self._dialect.cameras()
        for view, camera in self._task.views.items():
            if camera not in there:
                has = ", ".join(there) or "none"
                raise UserError(
                    f"view {view}: the scene has no camera {camera}; it has {has}",
                    "correct Task.views, or let Task.prepare add the camera",
                )
        for piece in self._task.state:
            given = self.term(piece.term).reshape(self.num_envs, -1).shape[1]
            expected = 4 if piece.rotation else piece.size
            if given != expected:
                raise UserError(
                    f"state {piece.name}: {piece.term} has {given} numbers, not {expected}",
                    "correct Task.state",
                )
        for term in self._task.subtasks:
            self._term(term)

    def _judged(self) -> dict[str, np.ndarray]:
        """Each condition on the present states: [B] bool."""
        verdicts: Mapping[str, Any] = self._shown[JUDGED]
        found = {name: self._dialect.numpy(term) for name, term in verdicts.items()}
        for term in self._task.subtasks:
            found[f"subtask/{term}"] = self.term(term)
        return {name: values.reshape(self.num_envs).astype(bool) for name, values in found.items()}

    def _rewards(self, judged: Mapping[str, np.ndarray], own: np.ndarray) -> np.ndarray:
        """[B]; see `task.REWARDS`."""
        now = np.stack([judged[name] for name in self._worth], axis=1)
        first = now & ~self._done
        self._done |= now
        given = first.mean(axis=1)
        return given + own if self._reward == "task" else given

    def _state(self) -> np.ndarray:
        """[B, S] float32."""
        parts = [np.zeros((self.num_envs, 0), np.float32)]
        for piece in self._task.state:
            values = self.term(piece.term)
            if piece.rotation:
                values = axis_angle(values, self._dialect.quaternion)
            parts.append(values.reshape(self.num_envs, piece.size).astype(np.float32))
        return np.concatenate(parts, axis=1)

    def _term(self, name: str) -> Any:
        """An observation term `group/term`, or a group whose terms are one vector."""
        group, _, term = name.partition("/")
        if group not in self._shown:
            raise UserError(
                f"{name}: the task has no observation group {group}; it has "
                f"{', '.join(self._shown)}",
                "correct the name in the task's description",
            )
        found = self._shown[group]
        if not term:
            return found
        if not isinstance(found, Mapping) or term not in found:
            terms = ", ".join(found) if isinstance(found, Mapping) else "one vector of all terms"
            raise UserError(
                f"{name}: {group} has no term {term}; it has {terms}",
                "correct the name in the task's description",
            )
        return found[term]
