"""The adapter on a dialect of plain counters: whom a step moves, and what is paid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.behavior import robot, settings
from rlinf.envs.behavior.adapter import BehaviorEnv
from rlinf.envs.behavior.data import Instances
from rlinf.envs.behavior.dialect import StepVerdict
from rlinf.errors import EnvironmentFailure

LEFT_ARM_1 = 7
INSTANCES = Instances("house", tuple(Path(f"{n}.json") for n in range(3)), ())


class Counters:
    """The first joint of the left arm is at its target; the goal is half reached at 1 and
    reached at 2. Whatever is done moves the torso of every row.
    """

    def __init__(self, num_envs: int = 3) -> None:
        self.num_envs, self.size = num_envs, (4, 6)
        self.arm, self.torso = np.zeros(num_envs), np.zeros(num_envs)
        self.potential = np.zeros(num_envs)
        self.loads: list[str] = []
        self.begun: list[tuple[int, str]] = []
        self.actions = np.zeros((num_envs, 23))

    def load(self, activity: str, instances: Instances) -> None:
        self.loads.append(f"{activity} in {instances.scene}")

    def begin(self, row: int, instance: Path) -> None:
        self.torso += 1
        self.arm[row] = self.torso[row] = self.potential[row] = 0
        self.begun.append((row, instance.name))

    def step(self, actions: np.ndarray) -> list[StepVerdict]:
        self.actions = actions.copy()
        self.arm[:] = actions[:, LEFT_ARM_1]
        self.torso += 1
        now = np.clip(np.floor(self.arm), 0, 2) / 2
        rewards, self.potential = now - self.potential, now
        return [StepVerdict(float(r), p == 1, p == 1) for r, p in zip(rewards, now, strict=True)]

    def keep(self, row: int) -> Any:
        return self.arm[row], self.torso[row]

    def put_back(self, row: int, state: Any) -> None:
        self.arm[row], self.torso[row] = state

    def proprio(self, row: int) -> np.ndarray:
        numbers = np.zeros(256)
        numbers[158], numbers[236] = self.arm[row], self.torso[row]
        return numbers

    def look(self, rows: Sequence[int]) -> list[Mapping[str, Any]]:
        picture = np.full((*self.size, 4), 9, np.uint8)
        cameras = {name: {"rgb": picture} for name in settings.CAMERAS.values()}
        return [{settings.ROBOT: cameras}] * len(rows)


def env(counters: Counters | None = None, **changes: Any) -> BehaviorEnv:
    given: dict[str, Any] = {
        "instances": {"turning_on_radio": INSTANCES},
        "starts": {"turning_on_radio": INSTANCES.training},
        "instructions": {"turning_on_radio": "turn it on", "make_pizza": "bake"},
        "views": ("main", "right_wrist"),
        "size": (4, 6),
        "state": ("arm_left_qpos", "trunk_qpos"),
        "success_reward": 0.0,
    }
    made = BehaviorEnv(counters or Counters(), **given | changes)
    made.reset(np.arange(made.num_envs), [Start(0, 0, 0)] * made.num_envs)
    return made


def move(it: BehaviorEnv, *arms: float, active: Sequence[bool] = (True,) * 3) -> Any:
    actions = np.zeros((3, 23), np.float32)
    actions[:, LEFT_ARM_1] = arms
    return it.step(actions, np.array(active))


def torsos(it: BehaviorEnv) -> list[float]:
    return it.observe(np.arange(3)).state[:, 7].tolist()


def test_a_start_is_an_instance_by_its_number_and_moves_nobody_else():
    it = env()
    move(it, 0, 0, 0)
    assert torsos(it) == [1, 1, 1]
    it.reset(np.array([2, 0]), [Start(0, 1, 5), Start(0, 2, 5)])
    assert torsos(it) == [0, 1, 0]
    assert it._dialect.begun[-2:] == [(2, "1.json"), (0, "2.json")]
    assert it.num_trials == 3


def test_who_waits_is_told_to_stay_where_it_is_and_is_put_back():
    it = env()
    move(it, 0.25, 0.5, 0.75)
    move(it, 9, 9, 9, active=(False, True, False))
    held = it._dialect.actions
    assert held[:, LEFT_ARM_1].tolist() == [0.25, 9, 0.75]
    assert held[0, 3:7].tolist() == [1, 0, 0, 0] and held[0, :3].tolist() == [0, 0, 0]
    assert torsos(it) == [1, 2, 1]


def test_the_reward_is_the_change_of_what_is_satisfied_and_falls_where_that_is_lost():
    it = env()
    given = [move(it, *arms).rewards.tolist() for arms in ((1, 0, 2), (0, 0, 2), (2, 1, 2))]
    assert given == [[0.5, 0, 1], [-0.5, 0, 0], [1, 0.5, 0]]


def test_what_a_waiting_env_was_paid_and_lost_by_being_put_back_evens_out():
    """The simulator counts from its last step. Env 0 waits while a neighbour's step lifts it."""
    it = env()
    dialect = it._dialect
    step = dialect.step
    dialect.step = lambda actions: step(actions + np.eye(3, 23, LEFT_ARM_1))  # 1 more for env 0
    assert move(it, 0, 0, 0, active=(False, True, True)).rewards.tolist() == [0, 0, 0]
    dialect.step = step
    assert move(it, 0, 0, 0).rewards.tolist() == [0, 0, 0]  # 0.5 paid then, and -0.5 now
    it.reset(np.array([0]), [Start(0, 0, 0)])
    assert move(it, 1, 0, 0).rewards.tolist() == [0.5, 0, 0]


def test_success_ends_an_episode_and_is_paid_once_where_asked_for():
    it = env(success_reward=1.0)
    result = move(it, 2, 1, 0)
    assert result.success.tolist() == result.terminated.tolist() == [True, False, False]
    assert result.rewards.tolist() == [2, 0.5, 0]
    assert move(it, 2, 1, 0).rewards.tolist() == [0, 0, 0]
    it.reset(np.array([0]), [Start(0, 1, 0)])
    assert move(it, 2, 1, 0).rewards.tolist() == [2, 0, 0]


def test_pictures_are_of_the_views_asked_for_without_a_fourth_channel():
    shown = env().observe(np.array([1, 0]))
    assert shown.images.shape == (2, 2, 4, 6, 3) and (shown.images == 9).all()
    assert env(views=()).observe(np.array([1])).images.shape == (1, 0, 0, 0, 3)
    with pytest.raises(EnvironmentFailure, match=r"gives pictures of \(4, 6\), it was set to \(8"):
        env(size=(8, 8)).observe(np.array([1]))


def test_another_activity_is_loaded_where_a_start_asks_for_it():
    counters = Counters(1)
    both = {
        "turning_on_radio": INSTANCES,
        "make_pizza": Instances("flat", INSTANCES.training[:2], ()),
    }
    starts = {name: each.training for name, each in both.items()}
    it = env(counters, instances=both, starts=starts)
    assert (it.tasks, it.num_trials) == (("turning_on_radio", "make_pizza"), 2)
    for task in (0, 1, 1):
        it.reset(np.zeros(1, np.int64), [Start(task, 1, 0)])
        assert it.instructions(np.zeros(1, np.int64)) == (("turn it on", "bake")[task],)
    assert counters.loads == ["turning_on_radio in house", "make_pizza in flat"]


def test_the_robots_numbers_are_those_of_the_convention():
    assert env().action_dim == len(robot.CONVENTION.dimensions)
