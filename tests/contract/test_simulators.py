"""What every simulator adapter must do. A new adapter is one more case in `conftest.py`."""

from __future__ import annotations

import re
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import psutil
import pytest

from rlinf.data.types import ChunkResult, EpisodeResult, Observation, Start
from rlinf.envs.episode import EpisodeBatch, EpisodeRules
from rlinf.envs.hosting.batch import ProcessBatch
from tests.contract.conftest import NUM_ENVS, SHORT, Case
from tests.published import PublishedModel

ALL = np.arange(NUM_ENVS)
EVERYONE = np.ones(NUM_ENVS, bool)


def moves(case: Case, steps: int, seed: int) -> np.ndarray:
    """[steps, A] random actions that press down, so that there are contacts."""
    actions = np.random.default_rng(seed).uniform(-1, 1, (steps, case.simulator.action_dim))
    actions[4:, 2] = -np.abs(actions[4:, 2])
    return (actions * case.stride).astype(np.float32)


def play(case: Case, env: int, start: Start, actions: np.ndarray) -> list[float]:
    """Runs an episode in one env and returns its rewards."""
    case.simulator.reset(np.array([env]), [start])
    return [
        float(case.simulator.step(np.repeat(action[None], NUM_ENVS, 0), env == ALL).rewards[env])
        for action in actions
    ]


def assert_same(case: Case, a: Observation, b: Observation) -> None:
    np.testing.assert_allclose(a.state, b.state, rtol=0, atol=case.state_drift)
    assert a.images.shape == b.images.shape
    differing = (a.images != b.images).any(axis=-1)
    assert not differing.any() or differing.mean() <= case.pixel_drift
    assert a.instructions == b.instructions


def differ(a: Observation, b: Observation) -> bool:
    return not (np.array_equal(a.state, b.state) and np.array_equal(a.images, b.images))


def test_an_observation_has_the_shapes_and_types_of_the_contract(case: Case) -> None:
    case.simulator.reset(ALL, [case.a, case.b, case.c])
    shown = case.simulator.observe(np.array([0, 2]))
    assert shown.images.dtype == np.uint8
    assert shown.images.shape == (2, *case.image_shape)
    assert shown.state.dtype == np.float32
    assert shown.state.shape == (2, case.state_size)
    assert np.isfinite(shown.state).all()
    assert np.abs(shown.state).max() < 1000  # metres, radians and the like
    assert len(shown) == 2
    assert all(shown.instructions)
    assert shown.instructions == case.simulator.instructions(np.array([0, 2]))


def test_an_image_has_contrast_and_shows_where_things_are(case: Case) -> None:
    if not case.image_shape[0]:
        pytest.skip("no camera")
    case.simulator.reset(ALL, [case.a, case.b, case.c])
    images = case.simulator.observe(ALL).images
    assert (images.std(axis=(1, 2, 3, 4)) > 5).all()
    assert (images[0] != images[1]).any()


def test_a_step_has_the_shapes_and_types_of_the_contract(case: Case) -> None:
    case.simulator.reset(ALL, [case.a, case.b, case.c])
    result = case.simulator.step(np.zeros((NUM_ENVS, case.simulator.action_dim)), EVERYONE)
    for values, dtype in (
        (result.rewards, np.float32),
        (result.terminated, np.bool_),
        (result.success, np.bool_),
    ):
        assert values.shape == (NUM_ENVS,)
        assert values.dtype == dtype


def test_equal_starts_and_actions_give_equal_episodes_whatever_came_before(case: Case) -> None:
    """The members of a group, and an episode that a resumed run replays."""
    actions = moves(case, 22, seed=1001)
    rewards = play(case, 0, case.a, actions)
    play(case, 1, case.c, moves(case, 12, seed=1052))
    again = play(case, 1, case.a, actions)
    np.testing.assert_allclose(again, rewards, rtol=0, atol=case.state_drift)
    shown = case.simulator.observe(np.array([0, 1]))
    assert_same(case, shown.take(np.array([0])), shown.take(np.array([1])))


def test_different_starts_differ_and_each_is_the_same_alone_and_with_others(case: Case) -> None:
    case.simulator.reset(ALL, [case.a, case.b, case.a])
    first, second, third = (case.simulator.observe(np.array([env])) for env in range(3))
    assert differ(first, second)
    assert_same(case, first, third)
    case.simulator.reset(np.array([1]), [case.b])
    assert_same(case, second, case.simulator.observe(np.array([1])))


def test_a_reset_leaves_other_envs_untouched_and_its_env_shows_nothing_of_the_past(
    case: Case,
) -> None:
    case.simulator.reset(ALL, [case.a, case.a, case.b])
    for action in moves(case, 3, seed=0):
        case.simulator.step(np.repeat(action[None], NUM_ENVS, 0), EVERYONE)
    before = case.simulator.observe(ALL)
    case.simulator.reset(np.array([1]), [case.b])
    after = case.simulator.observe(ALL)
    others = np.array([0, 2])
    assert_same(case, before.take(others), after.take(others))
    case.simulator.reset(np.array([2]), [case.b])
    fresh = case.simulator.observe(np.array([2]))
    assert_same(case, after.take(np.array([1])), fresh)


def test_inactive_envs_do_not_move_and_report_nothing(case: Case) -> None:
    case.simulator.reset(ALL, [case.a, case.b, case.c])
    before = case.simulator.observe(ALL)
    result = case.simulator.step(moves(case, NUM_ENVS, seed=0), ALL == 1)
    after = case.simulator.observe(ALL)
    others = np.array([0, 2])
    assert_same(case, before.take(others), after.take(others))
    assert differ(before.take(np.array([1])), after.take(np.array([1])))
    for values in (result.rewards, result.terminated, result.success):
        assert not values[others].any()


def test_what_was_shown_or_reported_is_not_written_into_later(case: Case) -> None:
    case.simulator.reset(ALL, [case.a, case.b, case.c])
    shown = case.simulator.observe(ALL)
    result = case.simulator.step(moves(case, NUM_ENVS, seed=0), EVERYONE)
    kept = [array.copy() for array in (shown.images, shown.state, result.rewards)]
    case.simulator.step(moves(case, NUM_ENVS, seed=1), EVERYONE)
    case.simulator.observe(ALL)
    for array, copy in zip((shown.images, shown.state, result.rewards), kept, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_frames_are_drawn_of_recorded_envs_while_they_are_recorded(case: Case) -> None:
    batch = EpisodeBatch(case.simulator, EpisodeRules(max_episode_steps=2, final="none", record=1))
    actions = np.repeat(moves(case, 2, seed=0)[None], NUM_ENVS, axis=0)
    for asked, steps in ((1, [0, 1, 2]), (0, [])):
        batch.set_record(asked)
        batch.start(ALL, [case.a, case.b, case.c])
        batch.run_chunk(actions, EVERYONE, [None] * NUM_ENVS)
        frames = batch.take_frames()
        assert [(frame.env, frame.step) for frame in frames] == [(0, step) for step in steps]
        assert [frame.ended for frame in frames[:-1]] == [False] * len(steps[:-1])
        assert all(frame.ended for frame in frames[-1:])
    assert batch.take_frames() == []


def test_frames_are_pictures_for_people_and_change_nothing_for_the_policy(case: Case) -> None:
    case.simulator.reset(ALL, [case.a, case.b, case.c])
    before = case.simulator.observe(ALL)
    pictures = case.simulator.frames(np.array([0, 2]))
    assert_same(case, case.simulator.observe(ALL), before)
    assert pictures.dtype == np.uint8
    assert pictures.ndim == 4 and pictures.shape[0] == 2 and pictures.shape[3] == 3
    assert pictures.std() > 5


def run_in_chunks(
    case: Case, actions: np.ndarray, length: int, limit: int
) -> tuple[list[ChunkResult], EpisodeResult]:
    """The episode from `a` in env 0, with reset to `b`, in chunks of `length` until it ends."""
    rules = EpisodeRules(max_episode_steps=limit, final="always")
    batch = EpisodeBatch(case.simulator, rules)
    batch.start(np.zeros(1, np.int64), [case.a])
    results: list[ChunkResult] = []
    for first in range(0, len(actions), length):
        part = np.repeat(actions[None, first : first + length], NUM_ENVS, axis=0)
        results.append(batch.run_chunk(part, ALL == 0, [case.b] * NUM_ENVS))
        if results[-1].episodes:
            return results, results[-1].episodes[0]
    pytest.fail("the episode did not end")


def test_success_inside_a_chunk_ends_the_episode_at_its_very_step(case: Case) -> None:
    """Judged by the simulator alone, step by step, without chunks."""
    if case.expert is None:
        pytest.skip("no expert for this task")
    case.simulator.reset(ALL[:1], [case.a])
    act = case.expert(case.simulator)
    taken: list[np.ndarray] = []
    rewards: list[np.float32] = []
    solved = False
    while not solved:
        assert len(taken) < 160, "the expert did not succeed"
        taken.append(np.asarray(act(), np.float32))
        result = case.simulator.step(np.repeat(taken[-1][None], NUM_ENVS, 0), ALL == 0)
        rewards.append(result.rewards[0])
        solved = bool(result.success[0])
    assert result.terminated[0]
    last = case.simulator.observe(ALL[:1])
    count = len(taken)
    length = 7 if count % 7 else 6  # the last chunk is cut off in the middle
    actions = np.stack([*taken, *taken[-length:]])
    results, episode = run_in_chunks(case, actions, length, limit=len(actions))
    assert episode.terminated and episode.success_once and episode.success_at_end
    assert episode.length == count
    valid, terminated, truncated, found = (
        np.concatenate([getattr(chunk, name)[0] for chunk in results])
        for name in ("valid", "terminated", "truncated", "rewards")
    )
    assert np.flatnonzero(valid).tolist() == list(range(count))
    assert np.flatnonzero(terminated).tolist() == [count - 1]
    assert not truncated.any()
    assert len(found) > count  # actions of the last chunk are left over
    np.testing.assert_array_equal(found[:count], rewards)
    assert not found[count:].any()
    assert_same(case, results[-1].final, last)


def test_the_expert_succeeds_through_the_tokens_of_a_published_model(
    case: Case, tmp_path: Path
) -> None:
    """What a model of that data set would emit, decoded and converted, moves the robot as meant."""
    if case.expert is None or not case.data_set:
        pytest.skip("no expert for this task")
    model = PublishedModel(tmp_path / "model", case.data_set)
    case.simulator.reset(ALL[:1], [case.a])
    act = case.expert(case.simulator)
    for _ in range(160):
        emitted = model.emit(act(), case.takes)
        assert round(float(emitted[6]), 3) in (0.0, 0.996)
        taken = model.received(emitted, case.takes)
        result = case.simulator.step(np.repeat(taken[None], NUM_ENVS, 0), ALL == 0)
        if result.success[0]:
            return
    pytest.fail("the expert did not succeed")


def test_the_final_observation_is_of_the_old_episode_and_the_next_of_the_new(case: Case) -> None:
    actions = moves(case, 8, seed=3)
    results, episode = run_in_chunks(case, actions, 4, limit=6)
    assert (episode.length, episode.terminated) == (6, False)
    assert results[-1].truncated[0].tolist() == [False, True, False, False]
    play(case, 1, case.a, actions[:6])
    assert_same(case, results[-1].final, case.simulator.observe(np.array([1])))
    case.simulator.reset(np.array([1]), [case.b])
    assert_same(case, results[-1].observation, case.simulator.observe(np.array([1])))


def test_an_episode_is_restored_bit_for_bit(case: Case) -> None:
    """Two envs run, one waits."""
    if not case.simulator.replayable:
        pytest.skip("its episodes are dropped, as it says")
    actions = np.repeat(moves(case, 22, seed=1001)[None], NUM_ENVS, axis=0)
    rules = EpisodeRules(max_episode_steps=50, final="none")
    batch = EpisodeBatch(case.simulator, rules)
    batch.start(ALL[:2], [case.a, case.b])
    batch.run_chunk(actions[:, :15], EVERYONE, [None] * NUM_ENVS)
    states = batch.state()
    expected = batch.run_chunk(actions[:, 15:], EVERYONE, [None] * NUM_ENVS)

    other = EpisodeBatch(case.simulator, rules)
    other.start(ALL, [case.b, case.c, case.a])
    other.run_chunk(actions[:, 11:15], EVERYONE, [None] * NUM_ENVS)
    other.restore(states)
    again = other.run_chunk(actions[:, 15:], EVERYONE, [None] * NUM_ENVS)
    np.testing.assert_array_equal(again.rewards, expected.rewards)
    assert_same(case, again.observation, expected.observation)


def test_an_episode_goes_on_after_leaving_the_accelerator_and_coming_back(case: Case) -> None:
    case.simulator.reset(ALL, [case.a, case.b, case.c])
    before = case.simulator.observe(ALL)
    case.simulator.offload()
    case.simulator.onload()
    assert_same(case, case.simulator.observe(ALL), before)


def test_a_sub_process_shows_and_reports_what_this_process_does_and_ends_with_its_batch(
    case: Case, in_sub_processes: Future[ProcessBatch] | None
) -> None:
    """Whatever this one has simulated before, bit for bit."""
    if in_sub_processes is None:
        pytest.skip("simulated inside the env worker")
    there, here = in_sub_processes.result(), EpisodeBatch(case.simulator, SHORT)
    actions = np.repeat(moves(case, 8, seed=5)[None], NUM_ENVS, axis=0)
    here.start(ALL[:1], [case.a])
    there.start(ALL[:1], [case.a])
    for part in (actions[:, :4], actions[:, 4:]):  # the second truncates and begins anew
        a = here.run_chunk(part, ALL == 0, [case.b] * NUM_ENVS)
        b = there.run_chunk(part[:1], EVERYONE[:1], [case.b])
        for name in ("rewards", "terminated", "truncated", "valid"):
            np.testing.assert_array_equal(getattr(a, name)[:1], getattr(b, name))
        assert_same(case, a.observation, b.observation)
        assert a.episodes == b.episodes
    assert_same(case, a.final, b.final)
    assert len(a.episodes) == 1
    before = set(psutil.Process().children(recursive=True))
    (server,) = (child for child in before if child.name() == "rlinf-forks")
    assert_forks_safely(server)
    there.close()
    assert len(before - set(psutil.Process().children(recursive=True))) == 2  # with its fork server


def assert_forks_safely(server: psutil.Process) -> None:
    """It has imported what is slow, has one thread, and has loaded nothing that draws."""
    assert server.num_threads() == 1
    loaded = {Path(part.path).name for part in server.memory_maps()}
    assert any("torch" in name for name in loaded)
    drivers = "libEGL|libOSMesa|libvulkan|libgallium|libLLVM|nvidia|libcuda"
    assert not [name for name in loaded if re.match(drivers, name)]
    assert not [file.path for file in server.open_files() if file.path.startswith("/dev/dri")]
