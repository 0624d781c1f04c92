"""The adapter on a dialect that is made of three counters: what it makes of verdicts and states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rlinf.data.conventions import ActionConvention, Dimension
from rlinf.data.types import Start
from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.isaaclab.adapter import BatchedEnv
from rlinf.envs.isaaclab.dialect import JUDGED
from rlinf.envs.isaaclab.task import StateSlice, Task
from rlinf.errors import UserError

TASK = Task(
    ids={"isaaclab3": "Counting"},
    instruction="count to three",
    views={"main": "camera"},
    state=(StateSlice("count", "policy/count", 1), StateSlice("pose", "policy/pose", 3, True)),
    actions=ActionConvention("steps", (Dimension("step"),)),
    max_steps=100,
    steps_per_second=20,
    prepare=lambda cfg, scene: None,
    subtasks=("subtask_terms/one", "subtask_terms/two"),
)


class Counters:
    """Three envs that add up their actions: solved at 3, lost below 0. Buffers are reused."""

    num_envs, action_dim = 3, 1
    quaternion = "xyzw"

    def __init__(self) -> None:
        self.count = np.zeros(3)
        self.resets: list[tuple[int, int]] = []
        self.drawn = 0

    def _shown(self) -> Mapping[str, Any]:
        return {
            "policy": {"count": self.count, "pose": np.tile([0.0, 0.0, 0.0, 1.0], (3, 1))},
            "subtask_terms": {"one": self.count >= 1, "two": self.count >= 2},
            JUDGED: {"success": self.count >= 3, "dropped": self.count < 0},
        }

    def reset_all(self, seed: int) -> Mapping[str, Any]:
        return self._shown()

    def reset(self, rows: np.ndarray, seeds: Sequence[int]) -> Mapping[str, Any]:
        self.resets += zip(rows.tolist(), seeds, strict=True)
        self.count[rows] = 0
        return self._shown()

    def step(self, actions: np.ndarray) -> tuple[Mapping[str, Any], np.ndarray]:
        self.count += actions[:, 0] + 0.25  # rows that wait drift
        return self._shown(), np.full(3, 0.5)

    def keep(self) -> Any:
        return self.count.copy()

    def put_back(self, state: Any, rows: np.ndarray) -> Mapping[str, Any]:
        self.count[rows] = state[rows]
        return self._shown()

    def cameras(self) -> tuple[str, ...]:
        return ("camera",)

    def pictures(self, camera: str) -> np.ndarray:
        self.drawn += 1
        return np.zeros((3, 4, 4, 3), np.uint8)

    def numpy(self, term: Any) -> np.ndarray:
        return np.array(term)

    def close(self) -> None:
        pass


def env(reward: Any = "success", views: tuple[str, ...] = ("main",)) -> BatchedEnv:
    made = BatchedEnv(Counters(), TASK, views, reward, "count")
    made.reset(np.arange(3), [Start(0, -1, seed) for seed in (7, 7, 9)])
    return made


def step(it: BatchedEnv, *actions: float, active: tuple[bool, ...] = (True,) * 3) -> Any:
    given = np.array(actions, np.float32)[:, None] - 0.25
    return it.step(given, np.array(active))


def test_each_env_is_reset_with_the_seed_of_its_own_start():
    assert env()._dialect.resets == [(0, 7), (1, 7), (2, 9)]


def test_a_lost_episode_ends_and_is_no_success():
    result = step(env(), 3, -1, 1)
    assert result.terminated.tolist() == [True, True, False]
    assert result.success.tolist() == [True, False, False]
    assert result.rewards.tolist() == [1, 0, 0]


def test_success_is_rewarded_once_in_an_episode_and_again_in_the_next():
    it = env()
    assert step(it, 3, 0, 0).rewards[0] == 1
    again = step(it, 0, 0, 0)
    assert (again.rewards[0], again.success[0]) == (0, True)  # with `ignore_terminations`
    it.reset(np.array([0]), [Start(0, -1, 1)])
    assert step(it, 3, 0, 0).rewards[0] == 1


def test_subtasks_share_the_reward_and_count_when_they_first_hold():
    it = env("subtasks")
    given = [step(it, 1, 0, 2).rewards, step(it, 1, 3, -2).rewards, step(it, 1, 0, 2).rewards]
    np.testing.assert_allclose(
        np.array(given).T, [[1 / 3, 1 / 3, 1 / 3], [0, 1, 0], [2 / 3, 0, 0]], atol=1e-6
    )


def test_the_simulators_own_terms_are_added_to_success_where_asked_for():
    assert step(env("task"), 3, 0, 0).rewards.tolist() == [1.5, 0.5, 0.5]


def test_envs_that_wait_stay_where_they_were_and_report_nothing():
    it = env("task")
    step(it, 1, 1, 1)
    result = step(it, 5, 5, 5, active=(False, True, False))
    assert it.observe(np.arange(3)).state[:, 0].tolist() == [1, 6, 1]
    assert result.rewards.tolist() == [0, 1.5, 0]
    assert result.terminated.tolist() == [False, True, False]


def test_nothing_is_drawn_but_for_an_observation():
    it = env()
    for _ in range(4):
        step(it, 0.1, 0.1, 0.1)
    assert it._dialect.drawn == 0
    shown = it.observe(np.array([2, 0]))
    assert (it._dialect.drawn, shown.images.shape, shown.state.shape) == (
        1,
        (2, 1, 4, 4, 3),
        (2, 4),
    )
    assert env(views=()).observe(np.arange(3)).images.shape == (3, 0, 0, 0, 3)


def test_an_ended_env_shows_its_last_state_and_the_rest_of_the_chunk_drives_nothing():
    it = env()
    batch = EpisodeBatch(it, EpisodeRules(max_episode_steps=9, final="always"))
    batch.start(np.arange(3), [Start(0, -1, 1)] * 3)
    actions = np.full((3, 4, 1), 1.25, np.float32)  # 1.5 a step: solved after 2
    actions[1:] = 0
    result = batch.run_chunk(actions, np.ones(3, bool), [Start(0, -1, 2)] * 3)
    assert result.valid[0].tolist() == [True, True, False, False]
    assert result.final.state[0, 0] == 3
    assert result.observation.state[0, 0] == 0


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"views": {"main": "gone"}}, "view main: the scene has no camera gone; it has camera"),
        (
            {"state": (StateSlice("a", "policy/gone", 1),)},
            "policy has no term gone; it has count, ",
        ),
        ({"state": (StateSlice("a", "gone", 1),)}, "no observation group gone; it has policy, "),
        ({"state": (StateSlice("a", "policy/pose", 3),)}, "policy/pose has 4 numbers, not 3"),
        ({"subtasks": ("subtask_terms/gone",)}, "subtask_terms has no term gone; it has one, two"),
    ],
)
def test_a_name_that_the_task_does_not_have_is_reported_at_the_start(described, said):
    with pytest.raises(UserError, match=said):
        BatchedEnv(Counters(), replace(TASK, **described), ("main",), "success", "count")
