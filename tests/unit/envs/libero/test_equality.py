"""What is cheap here equals what LIBERO's own, slow way gives, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from rlinf.data.types import Start
from tests.unit.envs.libero.conftest import SlowWay

BOTH, EVERYONE = np.arange(2), np.ones(2, bool)


def moves(count: int, seed: int) -> np.ndarray:
    """[count, 7] random actions that press down, so that there are contacts."""
    actions = np.random.default_rng(seed).uniform(-1, 1, (count, 7)).astype(np.float32)
    actions[3:, 2] = -np.abs(actions[3:, 2])
    return actions


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "fixture_seed", "seed", "resets", "steps"),
    [
        ("libero_spatial", "episode", 6, 1, 8),  # a reset from the episode's seed
        ("libero_spatial", "running", 0, 3, 0),  # trial 2 is the third reset after seed 0
        ("libero_10", "zero", 0, 1, 4),
    ],
)
def test_soft_resets_and_images_on_demand_equal_hard_resets_and_images_in_every_step(
    make, suite, fixture_seed, seed, resets, steps
):
    env = make(2, suite, fixture_seed=fixture_seed, settle_steps=2)
    # Whatever came before must leave no trace.
    env.reset(BOTH, [Start(0, 1, 1), Start(0, 7, 9)])
    for action in moves(6, seed=0):
        env.step(np.stack([action, -action]), EVERYONE)
    env.reset(BOTH, [Start(0, 2, 6), Start(0, 2, 6)])
    slow = SlowWay(env, 0, seed, trial=2, settle=2, resets=resets)
    actions = moves(steps, seed=5)
    for count in range(steps + 1):
        if count % 4 == 0:  # the first observation, and those after chunks of four
            shown = env.observe(BOTH)
            for row in BOTH:
                np.testing.assert_array_equal(shown.images[row], slow.images())
            np.testing.assert_array_equal(
                shown.state[1, [0, 1, 2, 6, 7]],
                np.float32([*slow.seen["robot0_eef_pos"], *slow.seen["robot0_gripper_qpos"]]),
            )
        np.testing.assert_array_equal(env.scene(1).physics(), slow.physics())
        if count < steps:
            env.step(np.stack([actions[count]] * 2), EVERYONE)
            slow.step(actions[count])
    slow.close()


@pytest.mark.slow
def test_a_stove_that_is_turned_on_glows_in_the_same_images(make):
    """Its colour changes after the step, and stays in the model until something changes it."""
    env = make(2, "libero_goal", fixture_seed="zero", settle_steps=0)
    (task,) = [i for i, text in enumerate(env.tasks) if text == "turn on the stove"]
    env.reset(BOTH, [Start(task, 1, 0)] * 2)
    slow = SlowWay(env, task, seed=0, trial=1, settle=0, resets=1)
    still = np.zeros(7, np.float32)
    first = slow.images()
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
    env.reset(np.zeros(1, np.int64), [Start(task, 1, 0)])
    np.testing.assert_array_equal(env.observe(BOTH[:1]).images[0], first)
    slow.close()
