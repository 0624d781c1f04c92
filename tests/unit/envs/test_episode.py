"""Episodes in chunks, on a simulator in which everything that happens can be counted.

`Scripted` ends an episode at the step that its start's seed says; the reward of step n is n * n, or
NaN at the step `poison`; a row of its observation is (seed, steps since the start, resets of this
env).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from rlinf.data.types import Observation, Start
from rlinf.envs.base import StepResult
from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.failures import RowFailed
from rlinf.envs.toy.reach import ToyReach
from rlinf.errors import EnvironmentFailure

NEVER = 99


class Scripted:
    """B envs; an action of -1 makes the simulator raise."""

    action_dim = 1
    tasks: Sequence[str] = ("count",)
    num_trials = 0
    replayable = True

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.seed = np.zeros(num_envs, int)
        self.steps = np.zeros(num_envs, int)
        self.resets = np.zeros(num_envs, int)
        self.poison = NEVER
        self.observed: list[list[int]] = []  # rows of each call of `observe`
        self.pictured: list[list[int]] = []

    def reset(self, ids: np.ndarray, starts: Sequence[Start]) -> None:
        self.seed[ids] = [start.seed for start in starts]
        self.steps[ids] = 0
        self.resets[ids] += 1

    def step(self, actions: np.ndarray, active: np.ndarray) -> StepResult:
        for env in np.flatnonzero(active & (actions[:, 0] == -1)):
            raise RowFailed(int(env)) from ZeroDivisionError("no such action")
        self.steps += active
        solved = active & (self.steps == self.seed)
        rewards = np.where(active, self.steps**2, 0).astype(np.float32)
        rewards[active & (self.steps == self.poison)] = np.nan
        return StepResult(rewards, solved.copy(), solved)

    def observe(self, ids: np.ndarray) -> Observation:
        if len(ids):
            self.observed.append(ids.tolist())
        state = np.stack([self.seed[ids], self.steps[ids], self.resets[ids]], axis=1)
        return Observation(
            np.zeros((len(ids), 0, 0, 0, 3), np.uint8), state.astype(np.float32), ("",) * len(ids)
        )

    def instructions(self, ids: np.ndarray) -> tuple[str, ...]:
        return ("",) * len(ids)

    def frames(self, ids: np.ndarray) -> np.ndarray:
        self.pictured.append(ids.tolist())
        return np.zeros((len(ids), 2, 2, 3), np.uint8)

    def close(self) -> None:
        pass


def starts(*seeds: int) -> list[Start]:
    return [Start(0, -1, seed) for seed in seeds]


def begun(*seeds: int, **rules: Any) -> tuple[EpisodeBatch, Scripted]:
    """A batch with one running episode per seed and, unless said otherwise, 5 steps at most."""
    simulator = Scripted(len(seeds))
    batch = EpisodeBatch(simulator, EpisodeRules(**{"max_episode_steps": 5, **rules}))
    batch.start(np.arange(len(seeds)), starts(*seeds))
    return batch, simulator


def chunk(batch: EpisodeBatch, length: int, following: Sequence[Start | None] | None = None) -> Any:
    """Runs a chunk of zeros in all envs."""
    actions = np.zeros((batch.num_envs, length, 1), np.float32)
    active = np.ones(batch.num_envs, bool)
    return batch.run_chunk(actions, active, following or [None] * batch.num_envs)


def test_an_env_that_ends_inside_a_chunk_executes_none_of_the_remaining_actions() -> None:
    batch, simulator = begun(2, NEVER)
    result = chunk(batch, 4)
    assert result.valid.tolist() == [[True, True, False, False], [True] * 4]
    assert result.terminated.tolist() == [[False, True, False, False], [False] * 4]
    assert not result.truncated.any()
    assert result.rewards.tolist() == [[1, 4, 0, 0], [1, 4, 9, 16]]
    assert simulator.steps.tolist() == [2, 4]


def test_the_step_limit_truncates_at_its_step_inside_a_chunk() -> None:
    batch, _ = begun(NEVER)
    chunk(batch, 3)
    result = chunk(batch, 3)  # steps 4, 5 and one too many
    assert result.truncated.tolist() == [[False, True, False]]
    assert result.valid.tolist() == [[True, True, False]]
    assert not result.terminated.any()


def test_a_task_may_have_an_earlier_limit_of_its_own() -> None:
    simulator = Scripted(3)
    rules = EpisodeRules(max_episode_steps=4, task_steps=(2, 9))
    batch = EpisodeBatch(simulator, rules)
    ids = np.arange(3)
    batch.start(ids, [Start(0, -1, NEVER), Start(1, -1, NEVER), Start(0, -1, NEVER)])
    result = batch.run_chunk(np.ones((3, 5, 1), np.float32), np.ones(3, bool), [None] * 3)
    assert [episode.length for episode in result.episodes] == [2, 4, 2]
    assert result.truncated.sum() == 3


def test_an_episode_that_terminates_at_the_step_limit_is_not_truncated() -> None:
    result = chunk(begun(5)[0], 5)
    assert result.terminated[0, 4]
    assert not result.truncated.any()


def test_an_ended_env_begins_the_episode_that_was_named_for_it_and_is_shown_after_the_reset() -> (
    None
):
    batch, _ = begun(2, NEVER)
    result = chunk(batch, 4, starts(7, 8))
    assert result.active.tolist() == [True, True]
    assert result.observation.state.tolist() == [[7, 0, 2], [NEVER, 4, 1]]


def test_an_ended_env_without_a_next_episode_waits() -> None:
    batch, simulator = begun(2, NEVER)
    result = chunk(batch, 2)
    assert result.active.tolist() == [False, True]
    assert result.observation.state.tolist() == [[NEVER, 2, 1]]
    result = chunk(batch, 2)
    assert simulator.steps.tolist() == [2, 4]
    assert not result.valid[0].any()
    assert not result.rewards[0].any()


def test_envs_outside_active_are_left_alone() -> None:
    batch, simulator = begun(NEVER, NEVER)
    result = batch.run_chunk(np.zeros((2, 3, 1)), np.array([False, True]), [None, None])
    assert simulator.steps.tolist() == [0, 3]
    assert result.active.tolist() == [False, True]


def test_a_chunk_renders_once_and_ended_envs_once_more_where_they_are_wanted() -> None:
    batch, simulator = begun(2, NEVER, NEVER, final="always")
    simulator.observed.clear()
    chunk(batch, 4, starts(7, 8, 9))
    assert simulator.observed == [[0], [0, 1, 2]]


@pytest.mark.parametrize(("final", "rows"), [("none", []), ("truncated", [1]), ("always", [0, 1])])
def test_the_final_observation_is_the_last_before_the_reset(final: Any, rows: list[int]) -> None:
    batch, _ = begun(3, NEVER, final=final)
    result = chunk(batch, 6, starts(7, 8))
    assert result.final_rows.tolist() == rows
    last = {0: [3, 3, 1], 1: [NEVER, 5, 1]}  # terminated at step 3, truncated at step 5
    assert result.final.state.tolist() == [last[row] for row in rows]


def test_final_rows_are_in_order_of_the_envs_not_of_the_ends() -> None:
    batch, _ = begun(3, 2, 1, final="always")
    result = chunk(batch, 3)
    assert result.final_rows.tolist() == [0, 1, 2]
    assert result.final.state[:, 1].tolist() == [3, 2, 1]


def test_ignored_terminations_do_not_end_the_episode_but_the_success_counts() -> None:
    batch, _ = begun(2, ignore_terminations=True)
    result = chunk(batch, 5)
    assert not result.terminated.any()
    assert result.truncated.tolist() == [[False] * 4 + [True]]
    (episode,) = result.episodes
    assert (episode.success_once, episode.success_at_end, episode.terminated) == (
        True, False, False,
    )  # fmt: skip
    assert episode.length == 5


def test_the_result_of_an_episode_sums_it_up() -> None:
    batch, _ = begun(4, NEVER, env_offset=10)
    assert chunk(batch, 3).episodes == ()
    (episode,) = chunk(batch, 1).episodes
    assert episode.env == 10
    assert episode.start == Start(0, -1, 4)
    assert episode.length == 4
    assert episode.episode_return == 1 + 4 + 9 + 16
    assert episode.success_once and episode.success_at_end and episode.terminated


def test_a_reward_that_is_not_finite_ends_its_episode_and_no_other() -> None:
    batch, simulator = begun(NEVER, 2, final="always")
    simulator.poison = 3
    result = chunk(batch, 4, starts(7, 8))
    assert result.valid.tolist() == [[True, True, True, False], [True, True, False, False]]
    assert result.truncated.tolist() == [[False, False, True, False], [False] * 4]
    assert np.isnan(result.rewards[0, 2])
    assert result.final_rows.tolist() == [1]  # no value is asked of a state that came apart
    broken, sound = result.episodes
    assert np.isnan(broken.episode_return) and broken.length == 3
    assert sound.episode_return == 1 + 4
    simulator.poison = NEVER
    assert chunk(batch, 2).rewards[0].tolist() == [1, 4]  # the next episode is none the worse


def test_relative_rewards_are_changes_of_the_score_and_start_anew_with_each_episode() -> None:
    batch, _ = begun(2, use_rel_reward=True, reward_coef=0.5)
    first = chunk(batch, 2, starts(NEVER))  # scores 1, 4: changes 1, 3
    assert first.rewards.tolist() == [[0.5, 1.5]]
    assert first.episodes[0].episode_return == 2.0
    assert chunk(batch, 2).rewards.tolist() == [[0.5, 1.5]]


def test_restored_envs_go_on_as_if_nothing_had_happened() -> None:
    """With `ToyReach`, whose states depend on the actions, restored into a used batch."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (4, 3, 2, 8)).astype(np.float32)
    everyone, following = np.ones(3, bool), starts(20, 21, 22)

    def fresh(*seeds: int) -> EpisodeBatch:
        batch = EpisodeBatch(ToyReach(3, image_size=16), EpisodeRules(max_episode_steps=5))
        batch.start(np.arange(3), starts(*seeds))
        return batch

    batch = fresh(1, 2, 3)
    for part in actions[:2]:
        shown = batch.run_chunk(part, everyone, following).observation
    states = batch.state()
    assert [len(state.actions) for state in states] == [4, 4, 4]

    other = fresh(4, 5, 6)
    other.run_chunk(actions[3], everyone, following)
    again = other.restore(states)
    np.testing.assert_array_equal(again.state, shown.state)
    np.testing.assert_array_equal(again.images, shown.images)
    ended = 0
    for part in actions[2:]:
        a, b = (each.run_chunk(part, everyone, following) for each in (batch, other))
        np.testing.assert_array_equal(a.rewards, b.rewards)
        np.testing.assert_array_equal(a.observation.state, b.observation.state)
        assert a.episodes == b.episodes
        ended += len(a.episodes)
    assert ended == 3


def test_restoring_simulates_and_shows_running_envs_only() -> None:
    batch, simulator = begun(2, NEVER)
    chunk(batch, 2)
    states = batch.state()
    assert [state.running for state in states] == [False, True]
    simulator.observed.clear()
    simulator.resets[:] = 0
    assert batch.restore(states).state.tolist() == [[NEVER, 2, 1]]
    assert simulator.observed == [[1]]
    assert simulator.resets.tolist() == [0, 1]


def test_episodes_that_cannot_be_replayed_are_dropped_by_the_next_chunk_and_others_begin() -> None:
    batch, simulator = begun(NEVER, NEVER, NEVER)
    batch.run_chunk(np.zeros((3, 2, 1)), np.array([True, True, False]), [None] * 3)
    states = batch.state()
    simulator.replayable = False
    shown = batch.restore(states)
    assert shown.state[:, 1].tolist() == [0, 0, 0]  # nothing was simulated
    assert [len(state.actions) for state in batch.state()] == [2, 2, 0]
    moves, following = np.zeros((3, 2, 1)), [Start(0, -1, 7), None, None]
    result = batch.run_chunk(moves, np.array([True, False, True]), following)
    # Env 0 is dropped and begins another, env 1 has not moved yet, env 2 had not begun to move.
    np.testing.assert_array_equal(result.rewards, [[np.nan, 0], [0, 0], [1, 4]])
    assert result.valid.tolist() == [[True, False], [False, False], [True, True]]
    assert result.truncated.tolist() == [[True, False], [False, False], [False, False]]
    assert not result.terminated.any()
    assert len(result.final_rows) == 0
    assert result.active.tolist() == [True, False, True]
    assert result.observation.state[:, :2].tolist() == [[7, 0], [NEVER, 2]]
    (dropped,) = result.episodes
    assert dropped.env == 0 and dropped.dropped and np.isnan(dropped.episode_return)
    assert dropped.length == 2
    result = batch.run_chunk(np.zeros((3, 1, 1)), np.ones(3, bool), [None] * 3)
    assert [episode.env for episode in result.episodes if episode.dropped] == [1]


def test_frames_are_taken_of_recorded_envs_only_at_every_step_and_start() -> None:
    batch, _ = begun(2, NEVER, NEVER, env_offset=1, record=3)
    chunk(batch, 3, starts(7, 8, 9))
    frames = batch.take_frames()
    assert [(frame.env, frame.step) for frame in frames] == [
        (1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2), (2, 3), (1, 0),
    ]  # fmt: skip
    ended = frames[4]
    assert (ended.reward, ended.success) == (4.0, True)
    assert (frames[-1].reward, frames[-1].success) == (0.0, False)
    assert batch.take_frames() == []


def test_an_env_may_be_recorded_to_the_end_of_one_episode_alone() -> None:
    """Env 0 ends twice before env 1 does once; both are seen from start to end."""
    batch, simulator = begun(NEVER, NEVER, NEVER)
    batch.set_record(2, once=True)
    batch.start(np.arange(3), starts(2, 4, NEVER))
    for _ in range(5):
        chunk(batch, 1, starts(2, 4, NEVER))
    frames = batch.take_frames()
    for env, length in ((0, 2), (1, 4)):
        steps = [frame.step for frame in frames if frame.env == env]
        assert steps == list(range(length + 1))
    assert {env for drawn in simulator.pictured for env in drawn} == {0, 1}


def test_nothing_is_pictured_without_recording() -> None:
    batch, simulator = begun(2, NEVER)
    chunk(batch, 4, starts(7, 8))
    assert simulator.pictured == []
    batch.set_record(1)
    chunk(batch, 1)
    assert simulator.pictured == [[0]]


def test_a_failing_simulator_is_named_with_env_step_start_and_action() -> None:
    batch, _ = begun(NEVER, NEVER, env_offset=4)
    actions = np.zeros((2, 2, 1), np.float32)
    actions[1, 1] = -1
    with pytest.raises(EnvironmentFailure, match=r"env 5 failed at step 2 .*seed=99.*\[-1\.0\]"):
        batch.run_chunk(actions, np.ones(2, bool), [None, None])


def test_an_observation_that_breaks_its_contract_is_named_with_env_step_and_part() -> None:
    batch, simulator = begun(NEVER, NEVER, env_offset=4)
    simulator.resets = np.array([1.0, np.inf])  # the third number of the state
    with pytest.raises(
        EnvironmentFailure, match=r"env 5 failed to show step 2 .*state\[2\] is inf"
    ):
        chunk(batch, 2)
