"""What is cheap here equals what LIBERO's own, slow way gives, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from rlinf.data.types import Start
from rlinf.envs.libero.compiled import functions
from rlinf.envs.libero.env import LiberoEnv, make_libero
from tests.unit.envs.libero.conftest import SIZE, SlowWay

BOTH, EVERYONE = np.arange(2), np.ones(2, bool)
STOVE = 7  # "turn on the stove"; cabinet, stove and rack stand where a random number says


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    """Two scenes of one task: building them takes most of the time."""
    made = make_libero(
        2,
        task_suite_name="libero_goal",
        task_ids=(STOVE,),
        cameras=("agentview", "robot0_eye_in_hand"),
        camera_size=SIZE,
        settle_steps=1,
    )
    assert made.tasks == ("turn on the stove",)
    made.reset(BOTH, [Start(0, 1, 1), Start(0, 7, 9)])
    yield made
    made.close()


@pytest.fixture(scope="module")
def slow(env: LiberoEnv) -> Iterator[SlowWay]:
    made = SlowWay(env._listed[0])
    yield made
    made.close()


def begin(env: LiberoEnv, fixture_seed: str, start: Start) -> None:
    for scene in map(env.scene, BOTH):
        scene._protocol = replace(scene._protocol, fixture_seed=fixture_seed)
    env.reset(BOTH, [start, start])


def moves(count: int, seed: int) -> np.ndarray:
    """[count, 7] random actions that press down, so that there are contacts."""
    actions = np.random.default_rng(seed).uniform(-1, 1, (count, 7)).astype(np.float32)
    actions[1:, 2] = -np.abs(actions[1:, 2])
    return actions


def test_what_is_compiled_beforehand_is_what_a_scene_calls(env: LiberoEnv):
    """It stands first: LIBERO's own way calls with other types, too."""
    import numba

    begin(env, "episode", Start(0, 1, 6))
    for action in moves(2, seed=3):
        env.step(np.stack([action, -action]), EVERYONE)
    for function, arguments in functions():
        (called,) = map(list, function.signatures)
        expected = [numba.typeof(argument) for argument in arguments]
        assert called[: len(expected)] == expected, function.__name__


@pytest.mark.slow
def test_soft_resets_and_images_on_demand_equal_hard_resets_and_images_in_every_step(
    env: LiberoEnv, slow: SlowWay
):
    # Whatever came before must leave no trace.
    for action in moves(4, seed=0):
        env.step(np.stack([action, -action]), EVERYONE)
    firsts = []
    for fixture_seed, seed, resets, steps in (
        ("episode", 6, 1, 4),  # a reset from the episode's seed
        ("running", 0, 2, 0),  # trial 1 is the second reset after seed 0
    ):
        begin(env, fixture_seed, Start(0, 1, 6))
        slow.begin(seed, trial=1, settle=1, resets=resets)
        firsts.append(slow.images())
        actions = moves(steps, seed=5)
        for count in range(steps + 1):
            np.testing.assert_array_equal(env.scene(1).physics(), slow.physics())
            if count % 4 == 0:  # the first observation, and that after a chunk of four
                shown = env.observe(BOTH)
                for row in BOTH:
                    np.testing.assert_array_equal(shown.images[row], slow.images())
                np.testing.assert_array_equal(
                    shown.state[1, [0, 1, 2, 6, 7]],
                    np.float32([*slow.seen["robot0_eef_pos"], *slow.seen["robot0_gripper_qpos"]]),
                )
            if count < steps:
                env.step(np.stack([actions[count]] * 2), EVERYONE)
                slow.step(actions[count])
    assert (firsts[0] != firsts[1]).any()  # cabinet, stove and rack stand elsewhere


@pytest.mark.slow
def test_a_stove_that_is_turned_on_glows_in_the_same_images(env: LiberoEnv, slow: SlowWay):
    """Its colour changes after the step, and stays in the model until something changes it."""
    begin(env, "zero", Start(0, 1, 0))
    slow.begin(seed=0, trial=1, settle=1, resets=1)
    still = np.zeros(7, np.float32)
    first = slow.images()
    np.testing.assert_array_equal(env.observe(BOTH[:1]).images[0], first)
    differ = []
    for count in range(3):
        if count == 1:  # on: env 0 and the slow way
            for sim in (slow.env.sim, env.scene(0)._env.sim):
                sim.data.set_joint_qpos("flat_stove_1_button", 1.5)
        result = env.step(np.stack([still, still]), EVERYONE)
        reward, done = slow.step(still)
        assert (result.success[0], result.rewards[0]) == (done, reward) == (count > 0, count > 0)
        assert not result.success[1]
        images = env.observe(BOTH).images
        np.testing.assert_array_equal(images[0], slow.images())
        differ.append(not np.array_equal(images[0], images[1]))
    assert differ == [False, True, True]
    # The next episode begins with a cold stove.
    env.reset(np.zeros(1, np.int64), [Start(0, 1, 0)])
    np.testing.assert_array_equal(env.observe(BOTH[:1]).images[0], first)


@pytest.mark.slow
def test_fingers_settle_open_or_half_open(env: LiberoEnv):
    """0.039 and 0.020 m of each finger; told to close they would be at 0.001 m."""
    scene = env.scene(0)
    for gripper, metres in (("open", 0.039), ("half_open", 0.020)):
        scene._protocol = replace(scene._protocol, settle_gripper=gripper, settle_steps=15)
        env.reset(BOTH[:1], [Start(0, 1, 6)])
        np.testing.assert_allclose(scene.state()[6:], [metres, -metres], atol=6e-4)
