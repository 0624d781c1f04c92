"""The test image of ManiSkill's renderer."""

from __future__ import annotations

import os

from rlinf.envs.rendering import RenderedFrame


def draw(backend: str) -> RenderedFrame:
    """Renders the first camera image of a task whose assets come with ManiSkill itself.

    Args:
        backend: ManiSkill's `render_backend`; with "gpu" ManiSkill itself takes the CPU where there
            is no CUDA device.
    """
    # Without this a missing asset asks a question on stdin and waits for ever.
    os.environ["MS_SKIP_ASSET_DOWNLOAD_PROMPT"] = "1"
    import gymnasium
    import mani_skill.envs  # noqa: F401  (registers the tasks)

    from rlinf.envs.maniskill.shader import choose_shader, without_table

    shader = without_table("minimal")
    choose_shader(shader)
    env = gymnasium.make(
        "PushCube-v1",
        obs_mode="rgb",
        num_envs=1,
        sim_backend="cpu",
        render_backend=backend,
        sensor_configs={"shader_config": shader},
    )
    observation, _ = env.reset(seed=0)
    pixels = observation["sensor_data"]["base_camera"]["rgb"]
    used = env.unwrapped.backend  # type: ignore[attr-defined]
    return RenderedFrame(
        backend=used.render_backend,
        device=used.render_device.name,
        contrast=float(pixels.float().std()),
    )
