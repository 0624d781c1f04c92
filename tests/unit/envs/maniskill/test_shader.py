"""Shaders without their look-up table draw what the stock ones draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

pytest.importorskip("mani_skill.envs", reason="needs ManiSkill")

from rlinf.envs.maniskill.building import look, make_env, to_numpy
from rlinf.envs.maniskill.config import ManiskillParams
from rlinf.envs.maniskill.shader import has_environment_map, without_table
from rlinf.errors import UserError


def test_images_equal_those_of_the_stock_shaders_to_the_last_bit() -> None:
    envs: list[Any] = []  # open to the end: the stock ones share the table while one is
    for shader in ("minimal", "default"):
        params = ManiskillParams(id="PushCube-v1", obs_mode="rgb", shader=shader)
        ours = make_env(params, 1, "cpu")
        _, info = ours.reset(seed=3)
        images = look(ours, params, info).images[0]
        assert not has_environment_map(ours)
        stock: Any = gymnasium.make(
            "PushCube-v1",
            obs_mode="rgb",
            sim_backend="cpu",
            render_backend="cpu",
            sensor_configs={"shader_pack": shader},
        )
        shown, _ = stock.reset(seed=3)
        views = [to_numpy(camera["rgb"])[0] for camera in shown["sensor_data"].values()]
        assert images.std() > 5
        np.testing.assert_array_equal(images, np.stack(views))
        envs += [ours, stock]
    for env in envs:
        env.close()


def test_the_table_is_in_no_source_of_the_shader_and_other_shaders_stay() -> None:
    for name in ("minimal", "default"):
        folder = Path(without_table(name).shader_pack)
        assert folder.name == name
        assert "samplerBRDFLUT" not in "".join(f.read_text() for f in folder.iterdir())
    assert without_table("rt").shader_pack == "rt"


def test_a_cache_that_cannot_be_written_is_named_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RLINF_CACHE", "/proc/no/cache")
    with pytest.raises(UserError, match=r"(?s)/proc/no/cache.*RLINF_CACHE"):
        without_table("minimal")
