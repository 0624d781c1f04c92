"""Drawing hulls instead of meshes changes the picture and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rlinf.envs.maniskill.light_visuals import flat_shaded, use_collision_hulls_as_visuals


def push_cube_env() -> Any:
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("mani_skill.envs")
    from rlinf.envs.maniskill.shader import choose_shader, without_table

    shader = without_table("minimal")
    choose_shader(shader)
    env = gymnasium.make(
        "PushCube-v1",
        obs_mode="rgb",
        control_mode="pd_ee_delta_pose",
        sim_backend="cpu",
        render_backend="cpu",
        reward_mode="none",
        sensor_configs={"width": 64, "height": 64, "shader_config": shader},
    )
    env.reset(seed=0)
    return env.unwrapped


def rollout(env: Any, actions: np.ndarray) -> np.ndarray:
    """States [steps, S] of one episode from seed 3; nothing is rendered."""
    env._obs_mode = "none"
    env.reset(seed=3)
    states = []
    for action in actions:
        env.step(action)
        states.append(env.get_state()[0].numpy().copy())
    return np.stack(states)


def picture(env: Any) -> np.ndarray:
    env._obs_mode = "rgb"
    return env.get_obs()["sensor_data"]["base_camera"]["rgb"][0].numpy().astype(int)


@pytest.mark.slow
def test_hulls_change_the_picture_of_the_arm_but_no_state() -> None:
    actions = np.random.default_rng(0).uniform(-0.6, 0.6, (12, 7)).astype(np.float32)
    env = push_cube_env()
    stock_states, stock_picture = rollout(env, actions), picture(env)

    assert use_collision_hulls_as_visuals(env) == 9  # Panda's seven joints, its base and its hand
    light_states, light_picture = rollout(env, actions), picture(env)

    np.testing.assert_array_equal(light_states, stock_states)
    changed = np.abs(light_picture - stock_picture).max(axis=-1) > 20
    assert 0.01 < changed.mean() < 0.5  # the arm looks different, the table and the cube do not
    assert light_picture.std() > 20  # not an empty picture
    assert use_collision_hulls_as_visuals(env) == 0  # light already
    env.close()


def test_flat_shading_gives_each_face_its_own_corners_and_outward_normal() -> None:
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 2, 0], [0, 0, 2]], dtype=np.float32)
    triangles = np.array([[0, 2, 1], [0, 1, 3]])

    corners, normals = flat_shaded(vertices, triangles)

    np.testing.assert_array_equal(corners[:3], vertices[[0, 2, 1]])
    np.testing.assert_array_equal(normals[:3], [[0, 0, -1]] * 3)
    np.testing.assert_array_equal(normals[3:], [[0, -1, 0]] * 3)
