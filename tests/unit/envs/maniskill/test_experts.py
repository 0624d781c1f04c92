"""What the scripted pusher does in states whose answer is plain."""

from __future__ import annotations

import numpy as np

from rlinf.envs.maniskill.experts import SOUND_REACH, PushExpert, PushFlaw

CUBE = np.array([0.0, 0.05, 0.02])


def test_far_above_it_flies_behind_the_cube_at_the_speed_limit() -> None:
    action = PushExpert(cube_start_x=0.0, reach=0.1)(np.array([0.1, -0.1, 0.18]), CUBE)
    np.testing.assert_allclose(action[[0, 1]], [-0.6, 0.6], rtol=1e-6)
    assert action[2] < 0


def test_low_and_aligned_behind_the_cube_it_pushes_along_x_only() -> None:
    action = PushExpert(cube_start_x=0.0, reach=0.1)(np.array([-0.06, 0.05, 0.02]), CUBE)
    np.testing.assert_allclose(action[:3], [0.6, 0.0, 0.0], atol=1e-6)


def test_beside_the_cube_it_does_not_push() -> None:
    action = PushExpert(cube_start_x=0.0, reach=0.1)(np.array([-0.06, 0.0, 0.02]), CUBE)
    assert action[0] <= 0
    assert action[1] > 0


def test_it_stands_still_once_the_cube_has_moved_its_reach() -> None:
    expert = PushExpert(cube_start_x=-0.04, reach=0.03)
    np.testing.assert_array_equal(expert(np.array([-0.05, 0.05, 0.02]), CUBE), np.zeros(7))


def test_a_flaw_draws_sound_and_short_reaches_in_the_given_share() -> None:
    flaw, rng = PushFlaw(sound_share=0.25, reach_low=0.0, reach_high=0.07), np.random.default_rng(0)
    reaches = np.array([flaw.draw_reach(rng) for _ in range(2000)])
    sound = reaches == SOUND_REACH
    assert abs(sound.mean() - 0.25) < 0.04
    assert reaches[~sound].max() < 0.07
